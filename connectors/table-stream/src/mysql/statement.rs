//! What a statement in the log does.
//!
//! Rows that change are in the log themselves; statements are there for where transactions begin and end,
//! and for what happens to whole tables. They are read as far as names go.

use crate::change::TableName;

/// What is to be known of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Begin,
    Commit,
    Rollback,
    /// A place in a transaction to go back to.
    Savepoint(String),
    /// What came after that place was rolled back.
    RollbackTo(String),
    /// The name of a prepared transaction, as the log writes it.
    PreparedCommit(String),
    PreparedRollback(String),
    /// All rows of these tables are gone.
    Emptied(Vec<TableName>),
    /// All tables of a database are gone.
    DatabaseDropped(String),
    /// These tables have, or may have, become others.
    Replaced(Vec<TableName>),
    /// Rows that changed without being told; of one table where it says so.
    Unlogged(Option<TableName>),
    Other,
}

impl Statement {
    /// Reads `text`, which ran in `database`.
    pub(super) fn read(database: &str, text: &str) -> Self {
        let mut words = Words {
            tokens: tokens(text),
            database,
        };
        match words.next_word().as_str() {
            "BEGIN" => Self::Begin,
            "START" if words.skip("TRANSACTION") => Self::Begin,
            "COMMIT" => Self::Commit,
            "ROLLBACK" => match words.tokens.is_empty() {
                true => Self::Rollback,
                false => {
                    words.skip("WORK");
                    words.skip("TO");
                    words.skip("SAVEPOINT");
                    Self::RollbackTo(words.part_of_name().unwrap_or_default())
                }
            },
            "SAVEPOINT" => Self::Savepoint(words.part_of_name().unwrap_or_default()),
            "XA" => words.prepared(),
            "TRUNCATE" => {
                words.skip("TABLE");
                Self::Emptied(words.names())
            }
            "DROP" => words.drop(),
            "CREATE" => words.create(),
            "RENAME" if words.skip("TABLE") || words.skip("TABLES") => {
                words.skip_if_exists();
                words.renamed()
            }
            "ALTER" => words.alter(),
            "DELETE" => {
                words.skip("FROM");
                let mut names = words.names();
                Self::Unlogged(names.pop().filter(|_| names.is_empty()))
            }
            "INSERT" | "REPLACE" | "UPDATE" | "LOAD" | "WITH" => Self::Unlogged(None),
            // Users, rights, routines, views, settings and what is to come.
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word as it stands there.
    Word(String),
    /// A name in quotes.
    Quoted(String),
    Sign(char),
}

/// The tokens of a statement; of what is no name only as much as is needed to find names.
fn tokens(text: &str) -> std::collections::VecDeque<Token> {
    let mut tokens = std::collections::VecDeque::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '`' | '"' | '\'' => {
                let mut name = String::new();
                while let Some(inner) = chars.next() {
                    if inner == char {
                        if chars.peek() != Some(&char) {
                            break;
                        }
                        chars.next();
                    } else if inner == '\\' && char != '`' {
                        name.extend(chars.next());
                        continue;
                    }
                    name.push(inner);
                }
                tokens.push_back(Token::Quoted(name));
            }
            '/' if chars.peek() == Some(&'*') => {
                chars.next();
                let is_run = match chars.peek() {
                    Some('!') => true,
                    Some('M') => chars.clone().nth(1) == Some('!'),
                    Some(_) | None => false,
                };
                if is_run {
                    // What it has is run, from the version on that it begins with.
                    while chars
                        .next_if(|char| matches!(char, 'M' | '!' | '0'..='9'))
                        .is_some()
                    {}
                    continue;
                }
                let mut last = ' ';
                for inner in chars.by_ref() {
                    if last == '*' && inner == '/' {
                        break;
                    }
                    last = inner;
                }
            }
            // The end of one whose content was read.
            '*' if chars.peek() == Some(&'/') => {
                chars.next();
            }
            '#' => skip_line(&mut chars),
            '-' if chars.peek() == Some(&'-') => skip_line(&mut chars),
            char if is_part_of_word(char) => {
                let mut word = String::from(char);
                while let Some(next) = chars.next_if(|char| is_part_of_word(*char)) {
                    word.push(next);
                }
                tokens.push_back(Token::Word(word));
            }
            char if char.is_whitespace() => {}
            char => tokens.push_back(Token::Sign(char)),
        }
    }
    tokens
}

fn skip_line(chars: &mut impl Iterator<Item = char>) {
    chars.find(|char| *char == '\n');
}

fn is_part_of_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '$' || char > '\u{7f}'
}

/// What is left of a statement.
struct Words<'a> {
    tokens: std::collections::VecDeque<Token>,
    database: &'a str,
}

impl Words<'_> {
    /// The next word in capitals; empty when there is none.
    fn next_word(&mut self) -> String {
        match self.tokens.pop_front() {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            Some(Token::Quoted(_) | Token::Sign(_)) | None => String::new(),
        }
    }

    /// Goes past a word, if it is the next.
    fn skip(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.front(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        if found {
            self.tokens.pop_front();
        }
        found
    }

    fn skip_if_exists(&mut self) {
        if self.skip("IF") {
            self.skip("NOT");
            self.skip("EXISTS");
        }
    }

    fn sign(&mut self, wanted: char) -> bool {
        let found = self.tokens.front() == Some(&Token::Sign(wanted));
        if found {
            self.tokens.pop_front();
        }
        found
    }

    fn part_of_name(&mut self) -> Option<String> {
        match self.tokens.pop_front()? {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Sign(_) => None,
        }
    }

    fn name(&mut self) -> Option<TableName> {
        let first = self.part_of_name()?;
        let (schema, name) = match self.sign('.') {
            true => (first, self.part_of_name()?),
            false => (self.database.to_owned(), first),
        };
        Some(TableName { schema, name })
    }

    /// Names with commas between them.
    fn names(&mut self) -> Vec<TableName> {
        let mut names: Vec<TableName> = self.name().into_iter().collect();
        while self.sign(',') {
            names.extend(self.name());
        }
        names
    }

    fn prepared(&mut self) -> Statement {
        let verb = self.next_word();
        let mut parts = Vec::new();
        // X'6162',X'',1: the first two are words before quotes.
        while let Some(token) = self.tokens.pop_front() {
            match token {
                Token::Word(word) if word.eq_ignore_ascii_case("X") => {}
                Token::Word(word) => parts.push(word),
                Token::Quoted(hex) => parts.push(format!("X'{}'", hex.to_ascii_lowercase())),
                Token::Sign(_) => {}
            }
        }
        match verb.as_str() {
            "COMMIT" => Statement::PreparedCommit(parts.join(",")),
            "ROLLBACK" => Statement::PreparedRollback(parts.join(",")),
            // Its rows follow, or have come, and it is prepared by a packet of its own.
            "START" | "BEGIN" => Statement::Begin,
            _ => Statement::Other,
        }
    }

    fn drop(&mut self) -> Statement {
        if self.skip("DATABASE") || self.skip("SCHEMA") {
            self.skip_if_exists();
            return self
                .part_of_name()
                .map_or(Statement::Other, Statement::DatabaseDropped);
        }
        if self.skip("TEMPORARY") || !(self.skip("TABLE") || self.skip("TABLES")) {
            return Statement::Other;
        }
        self.skip_if_exists();
        Statement::Emptied(self.names())
    }

    fn create(&mut self) -> Statement {
        let replaces = self.skip("OR") && self.skip("REPLACE");
        if self.skip("TEMPORARY") || !self.skip("TABLE") || !replaces {
            return Statement::Other;
        }
        Statement::Emptied(self.name().into_iter().collect())
    }

    /// `a TO b, c TO d`: what each name stands for now is another table.
    fn renamed(&mut self) -> Statement {
        let mut names = Vec::new();
        loop {
            names.extend(self.name());
            if self.skip("WAIT") {
                self.next_word();
            }
            self.skip("NOWAIT");
            self.skip("TO");
            names.extend(self.name());
            if !self.sign(',') {
                return Statement::Replaced(names);
            }
        }
    }

    fn alter(&mut self) -> Statement {
        while ["ONLINE", "OFFLINE", "IGNORE"]
            .iter()
            .any(|word| self.skip(word))
        {}
        if !self.skip("TABLE") {
            return Statement::Other;
        }
        self.skip_if_exists();
        let Some(name) = self.name() else {
            return Statement::Other;
        };
        let mut names = vec![name];
        let mut replaced = false;
        while let Some(token) = self.tokens.pop_front() {
            let Token::Word(word) = token else { continue };
            match word.to_ascii_uppercase().as_str() {
                "RENAME" if self.skip("COLUMN") || self.skip("INDEX") || self.skip("KEY") => {}
                "RENAME" => {
                    let _ = self.skip("TO") || self.skip("AS") || self.sign('=');
                    names.extend(self.name());
                    replaced = true;
                }
                // Rows come or go with parts and files of a table.
                "DROP" | "TRUNCATE" | "EXCHANGE" | "DISCARD" | "IMPORT" => {
                    replaced |= self.skip("PARTITION") || self.skip("TABLESPACE");
                }
                "CONVERT" => {
                    replaced |= self.skip("PARTITION");
                    if self.skip("TABLE") {
                        names.extend(self.name());
                        replaced = true;
                    }
                }
                "WITH" if self.skip("TABLE") => names.extend(self.name()),
                _ => {}
            }
        }
        match replaced {
            true => Statement::Replaced(names),
            false => Statement::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        let (schema, name) = text.split_once('.').unwrap_or(("shop", text));
        TableName {
            schema: schema.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn where_transactions_begin_and_end_is_read() {
        for (text, expected) in [
            ("BEGIN", Statement::Begin),
            ("COMMIT", Statement::Commit),
            ("ROLLBACK", Statement::Rollback),
            ("ROLLBACK TO `s`", Statement::RollbackTo("s".to_owned())),
            ("SAVEPOINT `s`", Statement::Savepoint("s".to_owned())),
            ("XA START X'6162',X'',1", Statement::Begin),
            ("XA END X'6162',X'',1", Statement::Other),
            (
                "XA COMMIT X'6162',X'FF',1",
                Statement::PreparedCommit("X'6162',X'ff',1".to_owned()),
            ),
            (
                "XA ROLLBACK X'6162',X'',1",
                Statement::PreparedRollback("X'6162',X'',1".to_owned()),
            ),
        ] {
            assert_eq!(Statement::read("shop", text), expected, "{text}");
        }
    }

    #[test]
    fn tables_are_found_however_they_are_written() {
        let emptied =
            |names: &[&str]| Statement::Emptied(names.iter().copied().map(name).collect());
        let replaced =
            |names: &[&str]| Statement::Replaced(names.iter().copied().map(name).collect());
        for (text, expected) in [
            ("TRUNCATE item", emptied(&["item"])),
            ("truncate table `a``b` -- gone", emptied(&["a`b"])),
            (
                "/* by hand */ DROP TABLE IF EXISTS `other`.`item`, item /* generated by server */",
                emptied(&["other.item", "item"]),
            ),
            ("DROP /*!40005 TEMPORARY */ TABLE item", Statement::Other),
            ("DROP VIEW item", Statement::Other),
            (
                "DROP DATABASE IF EXISTS shop",
                Statement::DatabaseDropped("shop".to_owned()),
            ),
            ("CREATE OR REPLACE TABLE item (id int)", emptied(&["item"])),
            ("CREATE TABLE item (id int)", Statement::Other),
            (
                "RENAME TABLE item TO _old, shop._new TO item",
                replaced(&["item", "_old", "_new", "item"]),
            ),
            (
                "ALTER TABLE item RENAME other.item",
                replaced(&["item", "other.item"]),
            ),
            ("ALTER TABLE item RENAME COLUMN a TO b", Statement::Other),
            (
                "ALTER TABLE item ADD PARTITION (PARTITION p)",
                Statement::Other,
            ),
            ("ALTER TABLE item DROP PARTITION p", replaced(&["item"])),
            ("ALTER TABLE item DROP COLUMN `partition`", Statement::Other),
            (
                "ALTER TABLE item EXCHANGE PARTITION p WITH TABLE spare",
                replaced(&["item", "spare"]),
            ),
            (
                "DELETE FROM `item`",
                Statement::Unlogged(Some(name("item"))),
            ),
            (
                "INSERT INTO item VALUES ('DROP TABLE x')",
                Statement::Unlogged(None),
            ),
            ("GRANT ALL ON shop.* TO ada", Statement::Other),
            ("", Statement::Other),
        ] {
            assert_eq!(Statement::read("shop", text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,60}") {
            let _ = Statement::read("shop", &text);
            let _ = Statement::read("shop", &format!("ALTER TABLE {text}"));
        }
    }
}
