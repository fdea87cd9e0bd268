"""A corpus with relevance judgements: bookmarks of a person, and the tags that the person gave them.

The package cherche (MIT) carries the bookmarks of semanlink.net: web pages and papers with a title, a comment or an
abstract, in English and French. A tag is a topic: its label is the query, what bears it is relevant. So a person judged
what belongs together long before any search engine was asked.

    make_judged.py SEMANLINK_FOLDER INTO

writes documents/*.md, and of two halves of the topics tune.tsv and test.tsv (id, tab, query) with tune.qrels and
test.qrels (topic, 0, name of the document without .md, 1).
"""

import hashlib
import json
import pathlib
import sys

# A bookmark that is no more than a title says too little to be found by meaning.
LEAST_CHARACTERS = 100
# A tag of one or two bookmarks is a matter of luck, one of very many is no question that a person asks.
BOOKMARKS = range(3, 31)
# Labels of one word are names that a search for words finds anyway, or words such as `good`.
LEAST_WORDS = 2

source, into = map(pathlib.Path, sys.argv[1:])
bookmarks = json.loads((source / "docs.json").read_text())
tags = json.loads((source / "tags.json").read_text())

(into / "documents").mkdir(parents=True)
tagged = {}
for number, bookmark in enumerate(bookmarks):
    parts = [bookmark[name].strip() for name in ("comment", "arxiv_title", "arxiv_summary")]
    text = "\n\n".join([f"# {' '.join(bookmark['title'].split())}", *filter(None, parts)])
    if len(text) < LEAST_CHARACTERS:
        continue
    name = f"{number:04}"
    (into / "documents" / f"{name}.md").write_text(text.replace("\r\n", "\n") + "\n")
    for tag in set(bookmark["tag"]):
        tagged.setdefault(tag, []).append(name)

halves = {"tune": ([], []), "test": ([], [])}
for tag, documents in sorted(tagged.items()):
    label = " ".join((tags.get(tag, {}).get("prefLabel") or [""])[0].split())
    if len(documents) not in BOOKMARKS or len(label.split()) < LEAST_WORDS:
        continue
    topic = tag.rsplit("/", 1)[-1]
    # By a digest, so that neither half was chosen.
    half = "tune" if hashlib.sha256(topic.encode()).digest()[0] % 2 else "test"
    topics, judgements = halves[half]
    topics.append(f"{topic}\t{label}\n")
    judgements += [f"{topic} 0 {document} 1\n" for document in sorted(documents)]

for half, (topics, judgements) in halves.items():
    (into / f"{half}.tsv").write_text("".join(topics))
    (into / f"{half}.qrels").write_text("".join(judgements))
