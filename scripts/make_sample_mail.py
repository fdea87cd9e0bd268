#!/usr/bin/env python3
"""Writes a Maildir++ of invented but lifelike mail; one Python writes the same bytes every time.

    scripts/make_sample_mail.py DIRECTORY

Conversations, a mailing list, newsletters in HTML, invoices with attachments, names and texts in several
scripts and charsets, copies in two folders, and a few damaged messages.
"""

import base64
import os
import random
import sys
from datetime import datetime, timedelta, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

# `email` draws its boundaries from this generator too, so one seed settles every byte.
random.seed(20261122)

ME = Address("Ana Lindqvist", "ana", "lindqvist.example")
PEOPLE = [
    Address("Jürgen Groß", "juergen", "werkstatt.example"),
    Address("Zoë Okafor", "zoe", "okafor.example"),
    Address("José Muñoz", "jose", "munoz.example"),
    Address("山田 花子", "hanako", "yamada.example"),
    Address("Мария Иванова", "maria", "ivanova.example"),
    Address("Sam O'Neill", "sam", "oneill.example"),
    Address("Li Wei", "wei", "harbour.example"),
    Address("Noor al-Amin", "noor", "alamin.example"),
]
TOPICS = [
    "Roof terrace: which plants survive the wind?", "Trip to Málaga in spring", "Backup disk is full again",
    "Choir rehearsal on Thursday", "Re-wiring the workshop", "Photos from the wedding", "Flat 3B: keys",
    "Bike to sell", "Reading group: next book", "Router keeps dropping the tunnel", "School meeting",
    "Kitchen tap drips", "Tax papers for the accountant", "Garden shed, second attempt", "New year's dinner",
]
SENTENCES = [
    "I had a look this morning and it is better than we thought.", "Could you bring the drill on Saturday?",
    "The train leaves at 9:42, platform 3.", "I would rather wait for the second offer.",
    "Attached is what I have so far.", "The café on the corner is closed on Mondays.",
    "Let us keep it simple and see what breaks.", "It costs 49,90 € a month, which is too much.",
    "My mother says hello.", "I have moved the old files to the archive.", "That works for me.",
    "Please check the second page; the numbers do not add up.", "We can do it in two evenings.",
]
# A text that each charset can write.
ELSEWHERE = [
    ("iso-8859-1", "Grüße aus Köln. Das Paket ist gestern angekommen, vielen Dank!", "Päckchen"),
    ("koi8-r", "Добрый день! Документы отправила сегодня утром.", "Документы"),
    ("iso-2022-jp", "写真を送ります。来週会いましょう。", "写真"),
    ("windows-1252", "L’été sera chaud… à bientôt !", "Vacances d’été"),
    ("gb18030", "会议改到星期五下午三点。", "会议"),
]
SHOPS = ["Energía Norte", "Kabel & Söhne", "Harbour Hosting", "Bahnhof Books"]
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class Maildir:
    """A Maildir++ that names its files by a counter instead of by clock and process."""

    def __init__(self, root):
        self.root, self.written = Path(root), 0

    def add(self, folder, message, when, flags="S"):
        """Writes `message` (an EmailMessage or raw bytes) with `when` as the file's time."""
        place = self.root if folder == "INBOX" else self.root / f".{folder}"
        for name in ("cur", "new", "tmp"):
            (place / name).mkdir(parents=True, exist_ok=True)
        self.written += 1
        stem = f"{int(when.timestamp())}.M{self.written:06d}.sample"
        path = place / "new" / stem if flags is None else place / "cur" / f"{stem}:2,{flags}"
        path.write_bytes(message if isinstance(message, bytes) else message.as_bytes(policy=SMTP))
        os.utime(path, (when.timestamp(), when.timestamp()))


def letter(sender, to, subject, when, number):
    """A message with its headers and no body."""
    message = EmailMessage(policy=SMTP)
    message["Date"] = format_datetime(when)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Message-ID"] = f"<{number:05d}.sample@{sender.domain}>"
    return message


def moments(count):
    """`count` times over two years, rising, in the senders' zones."""
    start, step = datetime(2024, 12, 1, 8, tzinfo=timezone.utc), timedelta(days=710) / count
    for index in range(count):
        zone = timezone(timedelta(minutes=random.choice([0, 60, 120, 330, -300, 540])))
        yield (start + step * index + timedelta(minutes=random.randrange(600))).astimezone(zone)


def paragraph():
    return " ".join(random.sample(SENTENCES, random.randrange(2, 5)))


def conversations(box, number):
    """Threads between Ana and the others; her own mails are in Sent."""
    for topic_number, when in enumerate(moments(60)):
        topic = TOPICS[topic_number % len(TOPICS)]
        other, references, quote = random.choice(PEOPLE), [], ""
        for turn in range(random.randrange(2, 9)):
            sender, to = (other, ME) if turn % 2 == 0 else (ME, other)
            message = letter(sender, to, topic if turn == 0 else f"Re: {topic}", when, next(number))
            if references:
                message["In-Reply-To"], message["References"] = references[-1], " ".join(references)
            text = paragraph()
            message.set_content(f"{text}\n{quote}\n-- \n{sender.display_name}\n")
            if random.random() < 0.12:
                message.add_attachment(PIXEL, "image", "png", filename=f"Foto {turn + 1} – größer.png")
            references.append(str(message["Message-ID"]))
            quote = f"\n{sender.display_name}:\n" + "\n".join(f"> {line}" for line in text.splitlines())
            flags = "RS" if turn == 0 else random.choice(["S", "S", "FS", ""])
            box.add("Sent" if sender is ME else "INBOX", message, when, flags)
            if turn == 1 and topic_number % 6 == 0:
                box.add("Archive.2025", message, when, "S")  # a copy: one item in two folders
            when += timedelta(hours=random.randrange(1, 40))


def mailing_list(box, number):
    for index, when in enumerate(moments(90)):
        message = letter(random.choice(PEOPLE), Address("lake", "lake", "lists.example"), f"[lake] Note {index // 3}",
                         when, next(number))
        message["List-Id"] = "Notes on lakes <lake.lists.example>"
        message.set_content("\n\n".join(paragraph() for _ in range(4)) + "\n")
        box.add("Lists.lake", message, when)


def newsletters(box, number):
    for index, when in enumerate(moments(80)):
        shop = SHOPS[index % len(SHOPS)]
        sender = Address(shop, "news", "news.example")
        message = letter(sender, ME, f"{shop}: {index + 1} things for the week ☀", when, next(number))
        message["List-Unsubscribe"] = "<https://news.example/leave>"
        items = "".join(f"<tr><td><b>{shop}</b></td><td>{paragraph()}</td></tr>" for _ in range(6))
        page = f"<html><head><style>td {{ padding: 4px }}</style></head><body><h1>Hello Ana &amp; co.</h1><table>{items}</table></body></html>"
        if index % 2:
            message.set_content(page, subtype="html")
        else:
            message.set_content("This week: see the HTML part.\n")
            message.add_alternative(page, subtype="html")
        box.add("Newsletters", message, when, "S" if index < 60 else None)


def invoices(box, number):
    for index, when in enumerate(moments(72)):
        shop = SHOPS[index % len(SHOPS)]
        message = letter(Address(shop, "billing", "bills.example"), ME, f"Factura Nº {2025000 + index} – {shop}", when, next(number))
        total = random.randrange(900, 25000) / 100
        message.set_content(f"Dear customer,\n\nyour invoice over {total:.2f} € is attached.\n\n{shop}\n")
        pdf = f"%PDF-1.4\n% invoice {index}\n".encode() + random.randbytes(random.randrange(8_000, 40_000)) + b"\n%%EOF\n"
        message.add_attachment(pdf, "application", "pdf", filename=f"factura-{2025000 + index}.pdf")
        if index % 3 == 0:
            rows = f"item;amount\nservice;{total:.2f}\n"
            message.add_attachment(rows, subtype="csv", filename="líneas.csv")
        box.add("Invoices", message, when, "FS" if index % 5 == 0 else "S")


def from_elsewhere(box, number):
    for index, when in enumerate(moments(50)):
        charset, text, subject = ELSEWHERE[index % len(ELSEWHERE)]
        message = letter(PEOPLE[index % len(PEOPLE)], ME, f"{subject} {index}", when, next(number))
        message.set_content(text + "\n", charset=charset)
        box.add("INBOX", message, when, "S")


def damaged(box):
    """What real mailboxes have too: none of it may stop a run."""
    when = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
    head = b"From: Broken Mailer <mailer@broken.example>\r\nTo: ana@lindqvist.example\r\n"
    for damage in [
        b"",                                                                  # an empty file
        b"\r\n\r\n",                                                          # nothing but line ends
        random.randbytes(4_000),                                              # no mail at all
        head + b"Subject: cut off in mid-header\r\nDate: Sun, 1 Nov 2026 12:0",
        head + b"Subject: Gr\xfc\xdfe, undeclared Latin-1\r\n\r\nSch\xf6n!\r\n",
        head + b"Subject: no such date\r\nDate: 32 Nov 2026 25:61:00 +9999\r\n\r\nWhen?\r\n",
        head + b"Subject: unknown charset\r\nContent-Type: text/plain; charset=klingon\r\n\r\nnuqneH\r\n",
        head + b"Subject: cut off in mid-part\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
               b"--x\r\nContent-Type: application/zip; name=half.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBBQAAAA",
    ]:
        box.add("INBOX", damage, when)
        when += timedelta(minutes=1)


def main(directory):
    box, number = Maildir(directory), iter(range(1, 100_000))
    for part in (conversations, mailing_list, newsletters, invoices, from_elsewhere):
        part(box, number)
    damaged(box)
    print(f"{box.written} messages in {directory}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
