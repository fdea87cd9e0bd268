"""The mailboxes that are measured, made of the 6,046 mails of the corpus.

- In: `python3 mailboxes.py CORPUS OUT COPIES`. Out: `OUT/maildir` (Maildir++, one folder a group of the corpus),
  `OUT/mbox` (mboxrd, the same mails) and, on standard output, JSON with their sizes.
- Copies differ: each has message ids of its own, and so threads of its own, and a line of its own at the end.
- A program of its own, so that the memory of who measures stays small (see `measure`).
"""

import json
import pathlib
import re
import sys
import zlib

# Fields whose message ids are made unique, with their folded lines (RFC 5322 section 3.6.4).
IDS = re.compile(rb"^(?:message-id|in-reply-to|references):.*(?:\n[ \t].*)*", re.I | re.M)
# What mboxrd quotes: `From ` after any number of `>`.
FROM = re.compile(rb"^>*From ", re.M)
# A time of arrival for names of files and separators: 2020-01-01, then a second a mail.
FIRST_ARRIVAL = 1_577_836_800


def mails(corpus):
    """Each mail with the name of its group, without the mbox separator that most still begin with."""
    for path in sorted(corpus.glob("*/*.txt")):
        mail = path.read_bytes()
        if mail.startswith(b"From "):
            mail = mail.partition(b"\n")[2]
        yield path.parent.name, mail


def copy_of(mail, copy):
    """The mail as copy number `copy`; 0 is the mail itself."""
    if copy == 0:
        return mail
    head, blank, body = mail.partition(b"\n\n")
    head = IDS.sub(lambda field: field[0].replace(b"<", b"<%d." % copy), head)
    return head + blank + body.rstrip(b"\n") + b"\n\nThis is copy %d.\n" % copy


def make(corpus, out, copies):
    maildir = out / "maildir"
    groups = sorted({group for group, _ in mails(corpus)})
    folder_of = {group: maildir if n == 0 else maildir / f".{group}" for n, group in enumerate(groups)}
    for folder in folder_of.values():
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir(parents=True)
    count = size = gzipped = 0
    with open(out / "mbox", "wb") as mbox:
        for copy in range(copies):
            for group, original in mails(corpus):
                mail = copy_of(original, copy)
                arrival = FIRST_ARRIVAL + count
                (folder_of[group] / "cur" / f"{arrival}.{count:06}.host:2,S").write_bytes(mail)
                quoted = FROM.sub(lambda found: b">" + found[0], mail)
                ending = b"\n" if quoted.endswith(b"\n") else b"\n\n"
                mbox.write(b"From dkc@localhost Wed Jan  1 00:00:00 2020\n" + quoted + ending)
                count, size = count + 1, size + len(mail)
                gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
                gzipped += len(gzip.compress(mail)) + len(gzip.flush())
    return {"mails": count, "bytes": size, "gzipped": gzipped}


if __name__ == "__main__":
    print(json.dumps(make(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]))))
