// SPDX-License-Identifier: GPL-2.0

//! As much of ELF as is needed: what a program is, and what the redirect's object has to be loaded with.

use anyhow::{
    bail,
    Context,
    Result, //
};
use std::{
    fs::File,
    io::{
        BufRead,
        BufReader,
        Read, //
    },
    path::{
        Path,
        PathBuf, //
    }, //
};

/// What a program is.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// The dynamic linker loads it, and our object with it.
    Dynamic,
    /// Nobody loads anything into it.
    Static,
    /// Not for x86-64: our object cannot be loaded into it.
    Foreign,
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/// A program header.
struct Segment {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    in_file: usize,
    in_memory: usize,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let part = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    part.copied().context("it is cut short")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_le_bytes(number(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(number(bytes, at)?))
}

fn usize_at(bytes: &[u8], at: usize) -> Result<usize> {
    Ok(usize::from_le_bytes(number(bytes, at)?))
}

fn is_ours(bytes: &[u8]) -> bool {
    const X86_64: u16 = 62;
    bytes.starts_with(b"\x7fELF\x02\x01")
        && u16_at(bytes, 18).is_ok_and(|machine| machine == X86_64)
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>> {
    let begin = usize_at(bytes, 32)?;
    let size = usize::from(u16_at(bytes, 54)?);
    let mut segments = Vec::new();
    for i in 0..usize::from(u16_at(bytes, 56)?) {
        let at = begin.saturating_add(i * size);
        segments.push(Segment {
            kind: u32_at(bytes, at)?,
            flags: u32_at(bytes, at + 4)?,
            offset: usize_at(bytes, at + 8)?,
            address: usize_at(bytes, at + 16)?,
            in_file: usize_at(bytes, at + 32)?,
            in_memory: usize_at(bytes, at + 40)?,
        });
    }
    Ok(segments)
}

/// What is at this path: a program, or a script, of which its interpreter counts.
pub fn kind(path: &Path) -> Result<Kind> {
    let mut path = PathBuf::from(path);
    for _ in 0..5 {
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        // Headers are at the beginning of what linkers make.
        let mut begin = Vec::new();
        (&file).take(4096).read_to_end(&mut begin)?;
        if !begin.starts_with(b"#!") {
            return Ok(kind_of(&begin).unwrap_or(Kind::Foreign));
        }
        let mut line = String::new();
        BufReader::new(&begin[2..]).read_line(&mut line)?;
        let Some(interpreter) = line.split_whitespace().next() else {
            return Ok(Kind::Foreign);
        };
        path = interpreter.into();
    }
    Ok(Kind::Foreign)
}

fn kind_of(begin: &[u8]) -> Result<Kind> {
    if !is_ours(begin) {
        return Ok(Kind::Foreign);
    }
    let segments = segments(begin)?;
    if segments.iter().any(|s| s.kind == PT_INTERP) {
        return Ok(Kind::Dynamic);
    }
    Ok(Kind::Static)
}

/// An object as it is to lie in memory, with what its loader has to know.
pub struct Image {
    /// From address 0 to the end; relocated for the address it was made for.
    pub bytes: Vec<u8>,
    /// Begin, length and `PROT_*` of its parts.
    pub parts: Vec<(usize, usize, i32)>,
    /// Address of the wanted symbol.
    pub entry: usize,
}

/// Pages, and segments, begin at multiples of this.
const PAGE: usize = 4096;

/// Size in memory of an object, in bytes.
pub fn size(object: &[u8]) -> Result<usize> {
    if !is_ours(object) {
        bail!("it is no object for x86-64");
    }
    let end = segments(object)?
        .iter()
        .filter(|s| s.kind == PT_LOAD)
        .map(|s| s.address.saturating_add(s.in_memory))
        .max();
    Ok(end
        .context("it has nothing to load")?
        .next_multiple_of(PAGE))
}

/// Lays an object out for an address. It may need nothing but itself.
pub fn load(object: &[u8], address: usize, symbol: &str) -> Result<Image> {
    let mut bytes = vec![0; size(object)?];
    let mut parts = Vec::new();
    let segments = segments(object)?;
    for s in segments.iter().filter(|s| s.kind == PT_LOAD) {
        let from = object
            .get(s.offset..s.offset.saturating_add(s.in_file))
            .context("a segment is not in the file")?;
        bytes
            .get_mut(s.address..s.address.saturating_add(s.in_file))
            .context("a segment is outside")?
            .copy_from_slice(from);
        let begin = s.address / PAGE * PAGE;
        let end = (s.address + s.in_memory).next_multiple_of(PAGE);
        let protection = [
            (4, libc::PROT_READ),
            (2, libc::PROT_WRITE),
            (1, libc::PROT_EXEC),
        ]
        .iter()
        .filter(|(flag, _)| s.flags & flag != 0)
        .fold(0, |all, (_, protection)| all | protection);
        parts.push((begin, end - begin, protection));
    }
    let dynamic = Dynamic::read(&segments, &bytes)?;
    dynamic.relocate(&mut bytes, address)?;
    let entry = address + dynamic.symbol(&bytes, symbol)?;
    Ok(Image {
        bytes,
        parts,
        entry,
    })
}

/// What the dynamic section says.
#[derive(Default)]
struct Dynamic {
    rela: usize,
    rela_size: usize,
    symbols: usize,
    strings: usize,
}

impl Dynamic {
    fn read(segments: &[Segment], bytes: &[u8]) -> Result<Self> {
        const PT_DYNAMIC: u32 = 2;
        let section = segments
            .iter()
            .find(|s| s.kind == PT_DYNAMIC)
            .context("it has no dynamic section")?;
        let mut dynamic = Self::default();
        let mut at = section.address;
        loop {
            let (tag, value) = (usize_at(bytes, at)?, usize_at(bytes, at + 8)?);
            at += 16;
            match tag {
                0 => return Ok(dynamic),
                1 => bail!("it needs other objects"),
                5 => dynamic.strings = value,
                6 => dynamic.symbols = value,
                7 => dynamic.rela = value,
                8 => dynamic.rela_size = value,
                // Relocations of other kinds.
                17 | 23 | 36 => bail!("it has relocations of a kind that is not known here"),
                _ => {}
            }
        }
    }

    fn relocate(&self, bytes: &mut [u8], address: usize) -> Result<()> {
        const RELATIVE: u32 = 8;
        const GLOB_DAT: u32 = 6;
        for at in (self.rela..self.rela + self.rela_size).step_by(24) {
            let offset = usize_at(bytes, at)?;
            let (kind, symbol) = (u32_at(bytes, at + 8)?, u32_at(bytes, at + 12)? as usize);
            let addend = usize_at(bytes, at + 16)?;
            let value = match kind {
                RELATIVE => address.wrapping_add(addend),
                // What is weak and nowhere is NULL.
                GLOB_DAT if self.is_weak_and_undefined(bytes, symbol)? => 0,
                _ => bail!("relocation {kind} is not known here"),
            };
            bytes
                .get_mut(offset..offset + 8)
                .context("a relocation is outside")?
                .copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn is_weak_and_undefined(&self, bytes: &[u8], symbol: usize) -> Result<bool> {
        const WEAK: u16 = 2;
        let at = self.symbols + 24 * symbol;
        Ok(u16_at(bytes, at + 4)? >> 4 & 0xf == WEAK && u16_at(bytes, at + 6)? == 0)
    }

    fn symbol(&self, bytes: &[u8], name: &str) -> Result<usize> {
        // The names are behind the symbols.
        for at in (self.symbols..self.strings.min(bytes.len())).step_by(24) {
            let begin = self.strings + u32_at(bytes, at)? as usize;
            let rest = bytes.get(begin..).unwrap_or(&[]);
            if rest.split(|b| *b == 0).next() == Some(name.as_bytes()) {
                return usize_at(bytes, at + 8);
            }
        }
        bail!("it has no {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart() {
        // Whoever runs this is a dynamic program of this machine.
        assert_eq!(kind(Path::new("/proc/self/exe")).unwrap(), Kind::Dynamic);
        let mut static_program = vec![0u8; 64];
        static_program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        static_program[18] = 62;
        static_program[54] = 56;
        assert_eq!(kind_of(&static_program).unwrap(), Kind::Static);
        static_program[18] = 3;
        assert_eq!(kind_of(&static_program).unwrap(), Kind::Foreign);
        assert_eq!(kind_of(b"text").unwrap(), Kind::Foreign);
    }

    #[test]
    fn cut_files_are_errors() {
        assert!(size(b"\x7fELF").is_err());
        let mut cut = vec![0u8; 64];
        cut[..6].copy_from_slice(b"\x7fELF\x02\x01");
        cut[18] = 62;
        cut[56] = 3;
        cut[32] = 200;
        assert!(size(&cut).is_err());
        assert!(load(&cut, 0, "x").is_err());
    }
}
