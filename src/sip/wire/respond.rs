//! Building responses to requests.

use super::{HeaderName, Request, Response, ResponseBuilder, To, typed};
use sipx_sip::message::StatusCode;

/// Starts a response: `Via`, `From`, `To`, `Call-ID`, `CSeq` are copied, and `To` gets `tag`
/// unless it has one or the status is 100 (RFC 3261 section 8.2.6.2).
///
/// `None` only if the status is not 100..=699, the reason has a line break, or the request lacks
/// one of those headers; requests are checked for them before they come here.
pub(in crate::sip) fn respond(
    request: &Request,
    status: u16,
    reason: &str,
    tag: &str,
) -> Option<ResponseBuilder> {
    let code = StatusCode::new(status)?;
    let mut response = ResponseBuilder::to_request(request, code, reason.to_owned()).ok()?;
    if status == 100 {
        if let Some(stamp) = request.headers.value(&HeaderName::Timestamp) {
            response = response
                .header(HeaderName::Timestamp, stamp.into_owned())
                .ok()?;
        }
        return Some(response);
    }
    let to = typed::<To>(&request.headers)?;
    if to.tag().is_none() {
        let mut value = request.headers.value(&HeaderName::To)?.into_owned();
        value.extend_from_slice(b";tag=");
        value.extend_from_slice(tag.as_bytes());
        response = response.set_header(&HeaderName::To, value).ok()?;
    }
    Some(response)
}

/// The usual reason phrase of a status (RFC 3261 section 21 and the RFCs that added others).
pub(in crate::sip) fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        469 => "Bad Info Package",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "Version Not Supported",
        600 => "Busy Everywhere",
        603 => "Decline",
        606 => "Not Acceptable",
        _ => match status / 100 {
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            6 => "Global Failure",
            _ => "Progress",
        },
    }
}

/// The status of a response as a plain number.
pub(in crate::sip) fn status(response: &Response) -> u16 {
    response.status.code()
}
