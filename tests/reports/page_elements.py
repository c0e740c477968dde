"""A page taken apart: its start tags, its scripts, its text and its numbers."""

import json
import re
from html.parser import HTMLParser

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}%{x}\u2028<!--"


class Elements(HTMLParser):
    """Every start tag with its attributes, the text of scripts and the rest of the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and self.get_starttag_text().startswith("<script"):
            self.scripts.append(data)
        else:
            self.text += data

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def without_scripts(page):
    return re.sub(r"<script\b[^>]*>.*?</script>", "", page, flags=re.DOTALL)
