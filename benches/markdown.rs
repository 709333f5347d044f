//! Markdown to messages. Target: 60,000 characters in at most 10 ms. Run: `cargo bench --bench markdown`
#![expect(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use telepost::telegram::format::markdown;
use telepost::telegram::split::{MESSAGE_LIMIT, split};

/// One part of a long answer, as agents write it.
const PART: &str = "## What I changed in `sender/split.rs`

The **splitter** now cuts at *graphemes*, see [the plan](https://example.org/plan) and [lane.rs](src/sender/worker.rs):

1. Code blocks stay whole, if they fit.
   - so do tables
   - [x] tested with 東京タワー and 👨‍👩‍👧‍👦
2. ~~Bytes~~ code points count, `a || b` is no ||spoiler||.

```rust
fn end(&self, start: usize) -> usize {
\tlet hard = self.hard_end(start);
\tif hard == self.text.len() { return hard; }
}
```

| Test | Result | ms |
|------|:------:|---:|
| `it` | **ok** | 12 |

> It reads well, and the lines
> stay where they were.

";

fn long(part: &str) -> String {
    part.chars().cycle().take(60_000).collect()
}

fn markdown_to_messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("60,000 characters of Markdown to messages");
    for (name, text) in [
        ("an answer of an agent", long(PART)),
        (
            "plain text",
            long("a line of words that says nothing at all\n"),
        ),
        (
            "one block of code",
            format!("```\n{}", long("let a = 1;\n")),
        ),
        ("a letter in bold, and one not", long("**a** b ")),
        ("no place for a cut", long("👨‍👩‍👧‍👦")),
        ("spoilers", long("||a|| ")),
        ("brackets", long("[![](")),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| split(&markdown(black_box(&text)), MESSAGE_LIMIT));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = markdown_to_messages
}
criterion_main!(benches);
