#!/usr/bin/env python3
"""Uses the Swagger UI of a running gateway as a person does, in Chromium; see `serve_openapi.rs`.

    swagger_ui.py --url http://127.0.0.1:PORT --token TOKEN [--screenshot FILE.png]

Opens /docs, gives the token to the Authorize dialog, waits for the operations that only a token shows, and tries
`list_datasets`. Exit code 1, and why, if something is not as it should be.
"""

import argparse
import json
import os
import shutil
import sys
from urllib.parse import urlsplit

from playwright.sync_api import Error, sync_playwright


def use(page, arguments):
    page.goto(f"{arguments.url}/docs")
    page.locator(".info .title").wait_for()
    operations = page.locator(".opblock")
    operations.first.wait_for()
    open_to_all = operations.count()
    assert page.locator("#operations-datasets-list_datasets").count() == 0, "an operation is listed without a token"
    if arguments.screenshot:
        page.screenshot(path=arguments.screenshot)

    with page.expect_response(lambda answer: urlsplit(answer.url).path == "/openapi.json") as fetched:
        page.locator(".auth-wrapper .authorize").first.click()
        dialog = page.locator(".dialog-ux")
        dialog.locator("input").fill(arguments.token)
        dialog.locator("button[type=submit]").click()
    again = fetched.value
    sent = again.request.headers.get("authorization")
    assert sent == f"Bearer {arguments.token}", "the document was fetched again without the token"
    assert again.status == 200, f"the document was refused with {again.status}"
    dialog.locator(".btn-done").click()
    operation = page.locator("#operations-datasets-list_datasets")
    operation.wait_for()
    allowed = operations.count()
    assert allowed > open_to_all, f"{allowed} operations with a token, {open_to_all} without"

    operation.locator(".opblock-summary-control").click()
    # `tryItOutEnabled` of swagger.js may have opened the form already.
    execute = operation.locator(".execute")
    if not execute.count():
        operation.locator(".try-out__btn").click()
    execute.click()
    live = operation.locator(".live-responses-table")
    live.wait_for()
    live.scroll_into_view_if_needed()
    if arguments.screenshot:
        page.screenshot(path=arguments.screenshot)
    status = live.locator(".response-col_status").last.inner_text().split()[0]
    assert status == "200", f"the answer has status {status}"
    answer = json.loads(live.locator(".highlight-code code").first.inner_text())
    assert answer["datasets"], "the answer has no datasets"
    return {"without": open_to_all, "with": allowed, "datasets": len(answer["datasets"])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--screenshot")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("chromium is missing; scripts/setup.sh test installs it")
    here = urlsplit(arguments.url).netloc
    said, elsewhere = [], []
    with sync_playwright() as playwright:
        # As root, in a container, Chromium's own sandbox cannot start.
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(20_000)
        page.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))

        def is_elsewhere(request):
            address = urlsplit(request.url)
            if address.scheme not in ("data", "blob") and address.netloc != here:
                elsewhere.append(request.url)

        page.on("request", is_elsewhere)
        try:
            seen = use(page, arguments)
        except (AssertionError, Error, json.JSONDecodeError) as error:
            seen = None
            print(error, file=sys.stderr)
        browser.close()
    for text in said:
        print(f"the console: {text}", file=sys.stderr)
    for url in elsewhere:
        print(f"a request to another host: {url}", file=sys.stderr)
    if seen is None or said or elsewhere:
        sys.exit(1)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
