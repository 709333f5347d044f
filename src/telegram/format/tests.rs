//! The person reads the words that the agent wrote.

use proptest::prelude::*;

use super::*;

/// A text with tags where its formatting begins and ends.
fn shown(source: &str) -> String {
    let rich = markdown(source);
    let mut tags: Vec<(usize, bool, String)> = Vec::new();
    for span in rich.spans() {
        let name = match span.entity.kind {
            EntityStyle::Bold => "b",
            EntityStyle::Italic => "i",
            EntityStyle::Underline => "u",
            EntityStyle::Strikethrough => "s",
            EntityStyle::Spoiler => "spoiler",
            EntityStyle::Blockquote => "quote",
            EntityStyle::Code => "code",
            EntityStyle::Pre => "pre",
            EntityStyle::TextLink => "a",
        };
        let detail = span.entity.url.or(span.entity.language);
        let detail = detail.map_or(String::new(), |detail| format!(" {detail}"));
        tags.push((span.range.start, true, format!("<{name}{detail}>")));
        tags.insert(0, (span.range.end, false, format!("</{name}>")));
    }
    tags.sort_by_key(|(at, opens, _)| (*at, *opens));
    let (mut text, mut from) = (String::new(), 0);
    for (at, _, tag) in tags {
        text.push_str(rich.text.get(from..at).unwrap());
        text.push_str(&tag);
        from = at;
    }
    text + rich.text.get(from..).unwrap()
}

#[track_caller]
fn stays(sources: &[&str]) {
    for source in sources {
        assert_eq!(markdown(source).text, *source);
    }
}

#[track_caller]
fn becomes(pairs: &[(&str, &str)]) {
    for (source, expected) in pairs {
        assert_eq!(shown(source), *expected, "{source}");
    }
}

#[test]
fn bare_addresses_keep_their_characters() {
    stays(&[
        "https://github.com/x/y/blob/main/pkg/__init__.py#L16",
        "see https://example.org/_a_/*b*/**c**?d=~~e~~&copy=1&amp;x=||y|| now",
        r"https://example.org/a\_b\*c",
        "https://example.org/[a](b)/c[^1]",
        "(https://en.wikipedia.org/wiki/Foo_(bar)_baz), https://a.example/_x_ and https://b.example/_y_",
        "a\nhttps://example.org/__x__/a",
        "https://example.org/`id`/x and https://example.org/a`b_c_d` `",
        "see https://example.org/`one two",
    ]);
    becomes(&[
        (
            "**https://example.org/a_b** and *see https://example.org/_c_/d*",
            "<b>https://example.org/a_b</b> and <i>see https://example.org/_c_/d</i>",
        ),
        (
            "[https://example.org/__a__](https://example.org/b)",
            "<a https://example.org/b>https://example.org/__a__</a>",
        ),
        (
            "请看 https://example.org/a_b，**重要**",
            "请看 https://example.org/a_b，<b>重要</b>",
        ),
    ]);
}

#[test]
fn names_keep_their_underscores() {
    stays(&[
        "obj.__class__.__name__",
        "pkg/__init__.py and pkg/__main__.py",
        "__init__.py, __main__.py",
        "run it if __name__ is it",
        "x has __slots__ and __dict__, not __len__()",
        "src/__tests__/__mocks__/x",
        "_private_name_ and __my_magic__",
        "self._x and self._y_",
        "__version__ = 1, __author__ and __builtins__",
    ]);
    becomes(&[
        (
            "__bold__ and _italic_, **__init__**",
            "<b>bold</b> and <i>italic</i>, <b>__init__</b>",
        ),
        ("_see foo/__x__/y_", "<i>see foo/__x__/y</i>"),
    ]);
}

#[test]
fn globs_and_paths_keep_their_characters() {
    stays(&[
        "src/**/*.rs",
        "src/**/*.rs and lib/**/*.ts",
        "**/*.ts or src/**",
        "**/dist/** and **/node_modules/**",
        "*.rs, *.toml and foo*",
        "*test*.py and test_*.py and *_test.go",
        "2*3*4 and a*b*c, x**2 + y**2, f(x)*2*y",
        r"C:\temp\__init__\*.txt and C:\*.*",
        r"src\**\*.rs",
        r"^\d+\.\d*\_x$",
        "!**/node_modules/**/x and !src/**/*.rs",
        "f(*args, **kwargs), x**2 + y**2",
        "*args and **kwargs, then g(*args, **opts)",
        "x**10, 2**n, (a)**2 and 10**3",
        "rsync --exclude='*.o' --exclude='*.so' (*.a, *.b)",
        "tests/**/__snapshots__/** and packages/*/src/**/*.ts",
    ]);
    becomes(&[
        (
            "**Step**1 and **bold text**ed",
            "<b>Step</b>1 and <b>bold text</b>ed",
        ),
        (
            "!**important**, **3** of **4**",
            "!<b>important</b>, <b>3</b> of <b>4</b>",
        ),
    ]);
}

#[test]
fn real_emphasis_stays() {
    becomes(&[
        ("a **b** c", "a <b>b</b> c"),
        (
            "**Yes**/**No**, **/etc/hosts** is bad",
            "<b>Yes</b>/<b>No</b>, <code>/etc/hosts</code> is bad",
        ),
        ("**src/** and **.env**", "<b>src/</b> and <b>.env</b>"),
        ("**src/*.rs** done", "<b>src/*.rs</b> done"),
        ("**bold**ed, (**a**).", "<b>bold</b>ed, (<b>a</b>)."),
        (r"\*escaped\* and snake\_case", "*escaped* and snake_case"),
        ("这是**重要**的", "这是<b>重要</b>的"),
        ("~~gone~~ ***both***", "<s>gone</s> <b><i>both</i></b>"),
    ]);
}

#[test]
fn emphasis_beside_punctuation_of_east_asia() {
    becomes(&[
        ("**注意：**请检查", "<b>注意：</b>请检查"),
        ("**重要。**次へ", "<b>重要。</b>次へ"),
        ("请**“注意”**一下", "请<b>“注意”</b>一下"),
        ("**한국어(Korean)**는", "<b>한국어(Korean)</b>는"),
        ("**A：**甲**B：**乙", "<b>A：</b>甲<b>B：</b>乙"),
        ("*注意：*请 ~~删除。~~好", "<i>注意：</i>请 <s>删除。</s>好"),
        ("**`code`**请", "<code>code</code>请"),
        (
            "| a |\n|---|\n| **注：**请 |",
            "<pre>a\n──────\n注：请</pre>",
        ),
    ]);
}

#[test]
fn names_that_telegram_links_are_code() {
    becomes(&[
        (
            "Edit README.md, main.rs:12 and setup.py.",
            "Edit <code>README.md</code>, <code>main.rs:12</code> and <code>setup.py</code>.",
        ),
        (
            "In /etc, /etc/hosts and /tmp/: done",
            "In <code>/etc</code>, <code>/etc/hosts</code> and <code>/tmp/</code>: done",
        ),
        (
            "Use @dataclass, @app.route and @types/node; ask @username",
            "Use <code>@dataclass</code>, <code>@app.route</code> and <code>@types/node</code>; ask @username",
        ),
        (
            "**Fixed main.rs today**",
            "<b>Fixed</b> <code>main.rs</code> <b>today</b>",
        ),
        ("# README.md", "<code>README.md</code>"),
        (
            "[README.md](https://example.org/x) `a.md`",
            "<a https://example.org/x>README.md</a> <code>a.md</code>",
        ),
        (
            r"src\main.rs, #define and $PATH",
            r"<code>src\main.rs</code>, <code>#define</code> and <code>$PATH</code>",
        ),
        (
            "POST /login calls datetime.now()",
            "POST <code>/login</code> calls <code>datetime.now()</code>",
        ),
    ]);
    for source in [
        "/start, /compact and /help@some_bot",
        "github.com/x/y/README.md and docs.rs/url, docs.rs",
        "https://example.org/README.md",
        "me@example.md",
        "and/or, 24/7, N/A, 1.5, e.g. this",
        "#tag and $TSLA, @someone_else said",
        "src/main.rs",
    ] {
        assert_eq!(shown(source), source);
    }
}

#[test]
fn simple_html_is_formatting() {
    becomes(&[
        (
            "<b>a</b> <strong>b</strong> <i>c</i> <em>d</em> <u>e</u> <s>f</s> <del>g</del>",
            "<b>a</b> <b>b</b> <i>c</i> <i>d</i> <u>e</u> <s>f</s> <s>g</s>",
        ),
        (
            "run <code>a*b*c &lt;x&gt;</code> now",
            "run <code>a*b*c <x></code> now",
        ),
        (
            "<a href=\"https://example.org/?a=1&amp;b=2\">the <b>site</b></a>",
            "<a https://example.org/?a=1&b=2>the <b>site</b></a>",
        ),
        (
            "<pre><code class=\"language-rust\">fn a() {}\n\nfn b() {}</code></pre>\nend",
            "<pre rust>fn a() {}\n\nfn b() {}</pre>\nend",
        ),
        (
            "before\n<blockquote>one\n<b>two</b></blockquote>",
            "before\n<quote>one\n<b>two</b></quote>",
        ),
        (
            "<b>Title</b>\n\n<b>over\n\nparagraphs</b> and on",
            "<b>Title</b>\n\n<b>over</b>\n\n<b>paragraphs</b> and on",
        ),
        (
            "<b>a *b</b> c*, *d <b>e* f</b>",
            "<b>a <i>b</i></b> <i>c</i>, <i>d <b>e</b></i> <b>f</b>",
        ),
        ("<b>**x**</b> <B>y</B>", "<b>x</b> <b>y</b>"),
        ("<b>a <i>b</b> c</i>", "<b>a <i>b</i></b> <i>c</i>"),
        (
            "<A HREF=\"https://example.org/x\">x</A>",
            "<a https://example.org/x>x</a>",
        ),
        (
            "<tg-spoiler>x</tg-spoiler> **<u>y</u>**",
            "<spoiler>x</spoiler> <u><b>y</b></u>",
        ),
    ]);
    stays(&[
        "Vec<i> and Option<b>",
        "a </b> b <b> c",
        "<b class=\"x\">y</b>",
        "<div>x</div> <b>open",
        "<a>x</a>",
    ]);
    becomes(&[
        ("`<b>x</b>`", "<code><b>x</b></code>"),
        ("```\n<b>x</b>\n```", "<pre><b>x</b></pre>"),
        (
            "<div>\n\n```\n<b>x</b>\n```\n</div>",
            "<div>\n\n<pre><b>x</b></pre>\n</div>",
        ),
        (
            "<b>x</b\n```\n<b>y</b>\n```",
            "<b>x</b\n<pre><b>y</b></pre>",
        ),
    ]);
}

#[test]
fn long_rows_of_tables_keep_their_cells() {
    becomes(&[
        (
            "| a | b |\n|---|---|\n| 1 | 2 | 3 | **4** |\n| 5 |",
            "<pre>a │ b │   │\n──┼───┼───┼──\n1 │ 2 │ 3 │ 4\n5 │   │   │</pre>",
        ),
        (
            "a | b\n---|---\n1 | 2 | 3",
            "<pre>a │ b │\n──┼───┼──\n1 │ 2 │ 3</pre>",
        ),
        (
            "> | a |\n> |---|\n> | 1 | `x\\|y` |",
            "<quote><pre>a │\n──┼────\n1 │ x|y</pre></quote>",
        ),
    ]);
    let wide = format!("| a |\n|---|\n| {} |", "cell | ".repeat(300));
    assert_eq!(markdown(&wide).text.matches("cell").count(), 300);
    let long = format!(
        "| a |\n|---|\n| {} | [more](https://example.org/m) |",
        "x".repeat(60)
    );
    assert!(shown(&long).ends_with("<a https://example.org/m>more</a>"));
}

#[test]
fn without_formatting_links_keep_their_address() {
    let rich = markdown("**See** [the plan](https://example.org/p) and <https://example.org/q>");
    let plain = rich.without_formatting();
    assert_eq!(
        plain.text,
        "See the plan (https://example.org/p) and https://example.org/q"
    );
    assert!(plain.entities.is_empty());
}

/// Texts of the pieces that meet in what agents write.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("**".to_owned()),
        Just("*".to_owned()),
        Just("_".to_owned()),
        Just("__".to_owned()),
        Just("~~".to_owned()),
        Just("||".to_owned()),
        Just("\\".to_owned()),
        Just("/".to_owned()),
        Just(".".to_owned()),
        Just("：".to_owned()),
        Just("请".to_owned()),
        Just("<b>".to_owned()),
        Just("</b>".to_owned()),
        Just("<code>".to_owned()),
        Just("</code>".to_owned()),
        Just("<blockquote>".to_owned()),
        Just("</blockquote>".to_owned()),
        Just("README.md".to_owned()),
        Just("/etc".to_owned()),
        Just("@dataclass".to_owned()),
        Just("\n".to_owned()),
        Just("`".to_owned()),
        Just("[".to_owned()),
        Just("](https://example.org/x)".to_owned()),
        Just(" ".to_owned()),
        "[a-z0-9]{1,3}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_bare_address_comes_out_as_it_went_in(
        before in "[a-z ]{0,10}",
        address in "https?://[a-z]{1,5}\\.[a-z]{2,3}/[a-zA-Z0-9_*~|`.,\\-/?=&;%+#@!$'\\[\\]\\\\]{0,40}",
        after in "( [a-z_*.]{1,10}){0,3}",
    ) {
        let source = format!("{before} {address} {after}");
        let text = markdown(&source).text;
        prop_assert!(text.contains(&address), "{source:?} became {text:?}");
    }

    #[test]
    fn no_letter_is_lost_and_no_mark_of_ours_is_left(source in pieces()) {
        // The word behind a fence is no text.
        prop_assume!(!source.contains("~~~") && !source.contains("```"));
        let rich = markdown(&source);
        let wanted = source
            .replace("<b>", "").replace("</b>", "")
            .replace("<code>", "").replace("</code>", "")
            .replace("<blockquote>", "").replace("</blockquote>", "")
            .replace("](https://example.org/x)", "");
        let letters = |text: &str| -> Vec<char> {
            text.chars().filter(|c| c.is_alphanumeric()).collect()
        };
        let said = letters(&rich.text);
        let mut rest = said.iter();
        for letter in letters(&wanted) {
            prop_assert!(rest.any(|there| *there == letter), "{:?} of {source:?} is lost: {:?}", letter, rich.text);
        }
        let ours = |c: char| matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{2e00}'..='\u{2e5f}' | '\u{2000}' | '\u{1680}');
        prop_assert!(!rich.text.contains(ours), "{:?}", rich.text);
    }
}
