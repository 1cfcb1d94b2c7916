//! Shell commands that work when pasted into bash or zsh.

use std::borrow::Cow;

/// A command line. Each `{}` of the template is one of the values, and the values that are left follow at the end. Every
/// word is quoted where a shell would change it.
pub fn line(template: &str, values: &[&str]) -> String {
    let mut values = values.iter().copied();
    let of_template = template.split(' ').map(|word| match word {
        "{}" => values.next().unwrap_or_default(),
        word => word,
    });
    let mut words: Vec<&str> = of_template.collect();
    words.extend(values);
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The word, in single quotes where it holds anything that bash or zsh expands: zsh also expands `[…]`, `?` and
/// a leading `=`.
fn quote(word: &str) -> Cow<'_, str> {
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
        let line = line("aws --query DBClusters[0].Endpoint {} =x", &["Key=a,Value=b", "it's", ""]);
        assert_eq!(line, r"aws --query 'DBClusters[0].Endpoint' Key=a,Value=b '=x' 'it'\''s' ''");
    }
}
