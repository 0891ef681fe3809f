// SPDX-License-Identifier: GPL-2.0

//! The tables of `Documentation/abi.rst`: what it says about each flag and opcode. They are compiled in, so that what
//! `ruring probe` gives as a reason is what the documentation says.

/// The text of the tables.
const ABI: &str = include_str!("../../../Documentation/abi.rst");

/// One table, by the title of its section.
pub struct Table {
    /// Names, and what is said about them. "all others" is the empty name.
    rows: Vec<(Vec<String>, String)>,
}

impl Table {
    /// Reads the table of a section; empty if there is none.
    pub fn of(section: &str) -> Self {
        Self::parse(ABI, section)
    }

    fn parse(text: &str, section: &str) -> Self {
        let mut lines = text.lines();
        let mut before = "";
        // A title is a line with as many "=" below it.
        for line in lines.by_ref() {
            if before == section && line.starts_with("===") {
                break;
            }
            before = line;
        }
        let is_rule =
            |line: &str| line.starts_with("==") && line.chars().all(|c| matches!(c, '=' | ' '));
        let lines: Vec<&str> = lines.collect();
        let Some(begin) = lines
            .iter()
            .position(|line| is_rule(line) && line.contains(' '))
        else {
            return Self { rows: Vec::new() };
        };
        let column = lines[begin].find(" =").map_or(0, |at| at + 1);
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut rules = 0;
        for line in &lines[begin..] {
            if is_rule(line) {
                rules += 1;
                if rules == 3 {
                    break;
                }
                continue;
            }
            if rules < 2 {
                continue;
            }
            // Lines of prose outside ASCII are cut where a column may not be.
            let (names, text) = line.split_at_checked(column).unwrap_or((line, ""));
            // A row begins with text in the second column that does not go on with a sentence, which is where the
            // names before did not end with a comma.
            match rows.last_mut() {
                Some((last, _)) if last.ends_with(',') || names.trim().is_empty() => {
                    let (last_names, last_text) = rows.last_mut().expect("there is one");
                    if !names.trim().is_empty() {
                        last_names.push(' ');
                        last_names.push_str(names.trim());
                    }
                    if !text.trim().is_empty() {
                        last_text.push(' ');
                        last_text.push_str(text.trim());
                    }
                }
                _ => rows.push((names.trim().into(), text.trim().into())),
            }
        }
        let split = |names: String| -> Vec<String> {
            if names == "all others" {
                return vec![String::new()];
            }
            names
                .split(',')
                // "RESTRICTIONS on a ring", "SEND_MSG_RING (fd -1)"
                .filter_map(|name| name.split_whitespace().next().map(String::from))
                .filter(|name| {
                    name.chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                })
                .collect()
        };
        Self {
            rows: rows
                .into_iter()
                .map(|(names, text)| (split(names), text))
                .collect(),
        }
    }

    /// What is said about a name, or else about all others.
    pub fn about(&self, name: &str) -> Option<&str> {
        let row = |wanted: &str| {
            self.rows
                .iter()
                .find(|(names, _)| names.iter().any(|n| n == wanted))
        };
        row(name).or_else(|| row("")).map(|(_, text)| text.as_str())
    }

    /// Whether the table says that it is there: it is listed, and not as refused.
    pub fn promises(&self, name: &str) -> bool {
        let row = self
            .rows
            .iter()
            .find(|(names, _)| names.iter().any(|n| n == name));
        row.is_some_and(|(_, text)| !text.starts_with("refused"))
    }

    /// All names.
    #[cfg(test)]
    fn names(&self) -> impl Iterator<Item = &str> {
        self.rows
            .iter()
            .flat_map(|(names, _)| names)
            .map(String::as_str)
            .filter(|n| !n.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_uring::names;

    const TEXT: &str = "\
Opcodes
=======

=======  ==========
opcode   here
=======  ==========
A, B,    as natively,
C        but slower
D_1      refused with
         EINVAL: no
E, on a  as natively
ring
all      EINVAL
=======  ==========

Other
=====
";

    #[test]
    fn rows_of_many_lines_are_one() {
        let table = Table::parse(
            &TEXT.replace("all      E", "all others\n         E"),
            "Opcodes",
        );
        assert_eq!(table.about("C"), Some("as natively, but slower"));
        assert_eq!(table.about("D_1"), Some("refused with EINVAL: no"));
        assert!(table.promises("A") && !table.promises("D_1") && !table.promises("X"));
        assert!(table.promises("E"));
        assert_eq!(Table::parse(TEXT, "Other").names().count(), 0);
    }

    #[test]
    fn the_documentation_names_what_there_is() {
        for (section, known) in [
            ("Setup flags", names::SETUP),
            ("Features", names::FEATURES),
            ("Enter flags", names::ENTER),
            ("SQE flags", names::SQE),
            ("Opcodes", names::OPS),
            ("Register opcodes", names::REGISTER),
        ] {
            let table = Table::of(section);
            assert!(table.names().count() > 5, "{section}: no table");
            for name in table.names() {
                assert!(known.contains(&name), "{section}: there is no {name}");
            }
        }
    }
}
