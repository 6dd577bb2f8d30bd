//! What a server said: its code, its enhanced code (RFC 3463), its words.

use std::fmt;

/// The most of a server's words that the ledger keeps, in characters: eight lines as long as a line may be.
const LONGEST_TEXT: usize = 4000;
/// And the most that logs and alarms show.
const LONGEST_SHOWN: usize = 1000;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// `5.1.1` and the like, where the text begins with one.
    pub enhanced: Option<String>,
    /// The words after the code, all of them, lines joined by LF.
    pub text: String,
}

impl Reply {
    /// A reply of this code and these words.
    pub fn new(code: u16, text: &str) -> Self {
        let text: String = text.chars().filter(|c| matches!(*c, '\n' | '\t') || !c.is_control()).collect();
        Self { code, enhanced: enhanced(&text), text }
    }

    /// Its words as far as the ledger keeps them.
    pub fn kept(&self) -> &str {
        first(&self.text, LONGEST_TEXT)
    }

    /// The codes alone, for logs: the words may hold an address.
    pub fn codes(&self) -> String {
        match &self.enhanced {
            Some(enhanced) => format!("{} {enhanced}", self.code),
            None => self.code.to_string(),
        }
    }

    /// What rules are held against: its words in lower case, on one line. Servers break their sentences anywhere, and begin
    /// each line with the enhanced code.
    pub fn words(&self) -> String {
        let own = self.enhanced.as_deref().unwrap_or_default();
        let bare =
            |line: &str| line.strip_prefix(own).unwrap_or(line).trim().replace('\t', " ").to_lowercase();
        self.text.lines().map(bare).collect::<Vec<_>>().join(" ")
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 4xx.
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, shown(&self.text).replace('\n', " "))
    }
}

/// A server's words as far as logs and alarms show them.
pub(super) fn shown(words: &str) -> &str {
    first(words, LONGEST_SHOWN)
}

fn first(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// The enhanced code that a text begins with: class 2, 4 or 5, then one to three digits twice.
pub(super) fn enhanced(text: &str) -> Option<String> {
    let word = text.split_ascii_whitespace().next()?;
    let parts: Vec<&str> = word.split('.').collect();
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [class, subject, detail]
            if matches!(*class, "2" | "4" | "5") && digits(subject) && digits(detail) =>
        {
            Some(word.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_the_enhanced_code_is_read_and_the_words_are_kept() {
        let reply = Reply::new(550, "5.1.1 no such user");
        assert_eq!(reply.enhanced.as_deref(), Some("5.1.1"));
        assert_eq!(reply.text, "5.1.1 no such user");
        let reply = Reply::new(550, "5.7.1 an unusual rate of\n5.7.1  Unsolicited mail");
        assert_eq!(reply.words(), "an unusual rate of unsolicited mail");
        assert_eq!(Reply::new(550, "No\nsuch user").words(), "no such user");
        // A tab is a character of theirs (RFC 5321 4.2), and as good as a space.
        assert_eq!(Reply::new(550, "No\tsuch\u{7} user").kept(), "No\tsuch user");
        assert_eq!(Reply::new(550, "No\tsuch user").words(), "no such user");
        for text in ["no such user", "5.1 x", "3.1.1 x", "5.1.1234 x", "", "5..1 x"] {
            assert_eq!(Reply::new(550, text).enhanced, None, "{text}");
        }
    }

    #[test]
    fn p6_of_endless_words_the_ledger_keeps_four_thousand_characters_and_a_log_shows_one_thousand() {
        let reply = Reply::new(550, &"é".repeat(9000));
        assert_eq!(reply.text.chars().count(), 9000);
        assert_eq!(reply.kept(), "é".repeat(4000));
        assert_eq!(reply.to_string(), format!("550 {}", "é".repeat(1000)));
        assert_eq!(Reply::new(550, "no").kept(), "no");
        // Eight lines, each as long as RFC 5321 4.5.3.1.5 lets one be.
        let lines = vec!["x".repeat(499); 8].join("\n");
        assert_eq!(Reply::new(550, &lines).kept(), lines);
    }
}
