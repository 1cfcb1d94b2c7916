//! Shell commands that work when pasted into bash or zsh.

use std::borrow::Cow;

/// A command in backquotes, each word quoted where a shell would change it.
pub fn command<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    format!("`{}`", words.into_iter().map(quote).collect::<Vec<_>>().join(" "))
}

/// The word, in single quotes where it holds anything that bash or zsh expands: zsh also expands `[…]`, `?` and
/// a leading `=`.
pub fn quote(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+%".contains(c);
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_expands_them() {
        let words = ["aws", "--query", "DBClusters[0].Endpoint", "Key=a,Value=b", "=x", "it's", ""];
        assert_eq!(command(words), r"`aws --query 'DBClusters[0].Endpoint' Key=a,Value=b '=x' 'it'\''s' ''`");
    }
}
