//! What a file of machine code says of itself: for which processor it is, and who loads it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64, Machine};
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{FileKind, ReadCache, ReadRef, Result};

/// A program or library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) architecture: Architecture,
    /// The loader that the kernel starts in the program's place; none for static programs, and for libraries.
    pub(super) loader: Option<PathBuf>,
}

/// The processor, the size of an address, and the order of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    bits: u8,
    machine: Machine,
    little_endian: bool,
}

/// Reads the headers of a file in ELF.
///
/// # Errors
///
/// What is wrong with the file: not ELF, cut off, or damaged.
pub(super) fn read(file: File) -> Result<Image> {
    let file = ReadCache::new(file);
    match FileKind::parse(&file)? {
        FileKind::Elf32 => headers::<FileHeader32<Endianness>, _>(&file, 32),
        _ => headers::<FileHeader64<Endianness>, _>(&file, 64),
    }
}

fn headers<'a, Header: FileHeader<Endian = Endianness>, Data: ReadRef<'a>>(
    data: Data,
    bits: u8,
) -> Result<Image> {
    let header = Header::parse(data)?;
    let endian = header.endian()?;
    let mut loader = None;
    for segment in header.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            loader = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    Ok(Image {
        architecture: Architecture {
            bits,
            machine: header.e_machine(endian),
            little_endian: header.is_little_endian(),
        },
        loader,
    })
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.machine {
            elf::EM_X86_64 => "x86-64",
            elf::EM_386 => "x86",
            elf::EM_AARCH64 => "ARM64",
            elf::EM_ARM => "ARM",
            elf::EM_RISCV => "RISC-V",
            elf::EM_PPC64 => "PowerPC64",
            elf::EM_S390 => "S/390",
            Machine(number) => return write!(f, "{} bits, processor {number}", self.bits),
        };
        write!(f, "{} bits, {name}", self.bits)?;
        match (self.machine, self.little_endian) {
            (elf::EM_PPC64, true) => f.write_str(", little endian"),
            _ => Ok(()),
        }
    }
}
