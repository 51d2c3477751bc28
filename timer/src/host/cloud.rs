//! Which cloud, and which size of machine, as far as files tell.

use super::tree::Tree;

/// A machine that is rented.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cloud {
    /// From whom.
    pub provider: Provider,
    /// Its size as the provider calls it, for example `m5.large`.
    pub instance_type: Option<String>,
    /// Its name at the provider, for example `i-0123456789abcdef0`.
    pub instance_id: Option<String>,
}

/// Who rents it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Provider {
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
    /// Microsoft Azure.
    Azure,
}

/// What the firmware of every machine of Azure has as its chassis' asset tag.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// What cloud-init learnt from the provider when the machine started, for everybody to read.
const CLOUD_INIT: &str = "/run/cloud-init/instance-data.json";

impl Cloud {
    pub(super) fn read(
        tree: Tree<'_>,
        vendor: Option<&str>,
        product: Option<&str>,
    ) -> Option<Self> {
        let provider = provider(tree, vendor, product)?;
        let learnt = tree.text(CLOUD_INIT).unwrap_or_default();
        let by_firmware = product.filter(|name| provider == Provider::Ec2 && is_ec2_type(name));
        let size_keys: &[&str] = match provider {
            Provider::Ec2 => &["instance-type", "instance_type", "instanceType"],
            Provider::Gce => &["machine-type", "machine_type", "machineType"],
            Provider::Azure => &["vmSize"],
        };
        let learn = |keys: &[&str]| keys.iter().find_map(|key| json_text(&learnt, key));
        let instance_id = tree
            .line("/sys/class/dmi/id/board_asset_tag")
            .filter(|tag| tag.starts_with("i-"))
            .or_else(|| learn(&["instance-id", "instance_id"]));
        Some(Self {
            provider,
            instance_type: by_firmware
                .map(str::to_owned)
                .or_else(|| learn(size_keys))
                // GCE gives a path: the name is its end.
                .and_then(|size| Some(size.rsplit('/').next()?.to_owned())),
            instance_id,
        })
    }

    /// Whether this is one of EC2's burstable types, which run at a fraction of a CPU once their credits are
    /// used up, the rest being stolen.
    pub fn is_burstable(&self) -> bool {
        let family = self
            .instance_type
            .as_deref()
            .and_then(|size| size.split('.').next());
        self.provider == Provider::Ec2 && matches!(family, Some("t1" | "t2" | "t3" | "t3a" | "t4g"))
    }
}

fn provider(tree: Tree<'_>, vendor: Option<&str>, product: Option<&str>) -> Option<Provider> {
    let ec2 = vendor == Some("Amazon EC2")
        || tree
            .line("/sys/hypervisor/uuid")
            .is_some_and(|uuid| uuid.starts_with("ec2"))
        || tree
            .line("/sys/class/dmi/id/bios_version")
            .is_some_and(|version| version.ends_with("amazon"));
    if ec2 {
        return Some(Provider::Ec2);
    }
    if product == Some("Google Compute Engine") {
        return Some(Provider::Gce);
    }
    (tree.line("/sys/class/dmi/id/chassis_asset_tag").as_deref() == Some(AZURE_TAG))
        .then_some(Provider::Azure)
}

/// `m5.large`, not `HVM domU`.
fn is_ec2_type(product: &str) -> bool {
    product.contains('.') && !product.contains(' ')
}

/// The first value of `key` in a JSON text, if it is a string without escapes. For one word that is all it takes.
fn json_text(json: &str, key: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{key}\""))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let word = value.strip_prefix('"')?.split('"').next()?;
    // cloud-init writes "redacted for non-root user" over what it hides.
    (!word.is_empty() && !word.contains([' ', '\\'])).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_found_in_json() {
        let json = r#"{"ds": {"meta_data": {"instance-type" : "t2.micro", "x": "redacted for non-root user"}}}"#;
        assert_eq!(
            json_text(json, "instance-type").as_deref(),
            Some("t2.micro")
        );
        assert_eq!(json_text(json, "x"), None);
        assert_eq!(json_text(json, "ds"), None);
        assert_eq!(json_text(json, "absent"), None);
    }

    #[test]
    fn types_that_live_on_credits_are_burstable() {
        let cloud = |size: &str| Cloud {
            provider: Provider::Ec2,
            instance_type: Some(size.to_owned()),
            instance_id: None,
        };
        assert!(cloud("t3.medium").is_burstable());
        assert!(!cloud("m5.large").is_burstable());
        assert!(!cloud("trn1.2xlarge").is_burstable());
        let elsewhere = Cloud {
            provider: Provider::Azure,
            ..cloud("t3.medium")
        };
        assert!(!elsewhere.is_burstable());
    }
}
