"""Passwords of databases are shown nowhere, and text of strangers moves no cursor."""

import sys
import time

import pytest

from trainers.command import command
from trainers.errors import UserError
from trainers.redaction import without_passwords
from trainers.visible import for_terminal


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:hunter2@db/slimfront",
        "storage: postgresql+psycopg2://ann:hunter2@db:5432/x?sslmode=require",
        "(postgres://ann:hun/ter2@db/x) failed",
        "'postgresql://ann:hunter2:@ter2@db'",
        "postgresql://:hunter2@db/x",
        "POSTGRESQL://ann:hunter2@[::1]:5432/x",
        "postgresql://db/x?user=ann&password=hunter2&x=1",
        "host=db user=ann password=hunter2 dbname=x",
        "host=db password = 'hunter2 ter2' dbname=x",
        '{"password": "hunter2"}',
        "create_engine(url, password='hunter2')",
        "mysql://a:hunter2@x and redis://:hunter2@y",
        "mysql://root:hun'ter2@h/db",
        "postgresql://o'brien:hunter2@h/db",
        'postgresql://ann:hun"ter2@h/db',
        "postgresql://ann:hun<ter2>@h/db",
        "postgresql://ann:hun ter2@h/db",
        "postgresql://ann:hun ter2@ter2@h/db",
        "postgresql://ann:hun' ter2@h/db",
        "postgresql://ann:ter2'@h/db",
        "postgresql://ann@corp:hunter2@h/db",
        f"postgresql://ann:{'ter2' * 3_000}@h/db",
        f"postgresql://{'ann' * 300}:hunter2@h/db",
        "postgresql://ann:80/ter2@h/db",
        "first\npostgresql://ann:hun ter2@h/db\nlast",
        "postgresql://h/db?password=hun'ter2",
        "postgresql://h/db?password=<ter2&x=1",
        r"host=db password='hun\'ter2' dbname=x",
        "PGPASSWORD=hunter2 psql",
    ],
)
def test_passwords_are_taken_out_and_the_rest_stays(text):
    shown = without_passwords(text)
    assert "ter2" not in shown and "***" in shown
    assert shown.count("/") >= text.count("//") and without_passwords(shown) == shown


def test_text_without_passwords_stays_as_it_is():
    for text in (
        "see https://example.org/a:b and c@d",
        "sqlite:///study.db",
        "2:1 at 12:30",
        "a: b@c",
        "postgresql://ann@db/x",
        "see http://127.0.0.1:8265 or ask ann@example.org",
        "'http://127.0.0.1:8265' and \"x@y\"",
        "http://host:80/a\nann@db",
    ):
        assert without_passwords(text) == text


@pytest.mark.parametrize("kind", [UserError, RuntimeError])
def test_errors_of_commands_show_no_password_and_no_escape(kind, monkeypatch, capsys):
    def main() -> int:
        raise kind("cannot reach postgresql://ann:hunter2@db/x \x1b[2J")

    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as ended:
        command(main, name="x")
    shown = capsys.readouterr().err
    assert ended.value.code == (2 if kind is UserError else 1)
    assert "postgresql://ann:***@db/x" in shown and "hunter2" not in shown and "\x1b" not in shown
    assert ("Traceback" in shown) == (kind is RuntimeError)


def test_hidden_characters_are_written_out():
    assert for_terminal("a\x1b]0;x\x07\r\u202eb\x9b\n\tc") == "a\\x1b]0;x\\x07\\r\\u202eb\\x9b\n\tc"


def test_what_follows_a_url_in_a_text_is_shown():
    url, shown = "postgresql://ann:hunter2@db/x", "postgresql://ann:***@db/x"
    for text in ("'{}' and c@d", '{{"a":"{}","b":"c@d"}}', "({}) c@d", "<{}> c@d", "{}\nc@d", "to {}, asked by c@d"):
        assert without_passwords(text.format(url)) == text.format(shown)


@pytest.mark.parametrize(
    "piece",
    [
        "a://b:",
        "a://b: ",
        "a://b:1/",
        "a://b:1 ",
        "a://b:'",
        "a://b:x\n",
        "a://b@c:",
        "a@",
        "pwd='\\",
        "pwd=a,",
        "pwd=,",
    ],
)
@pytest.mark.parametrize("tail", ["", "@", " @", "\n@", "'"])
def test_a_text_made_to_be_slow_is_not(piece, tail):
    begun = time.process_time()
    without_passwords(piece * (400_000 // len(piece)) + tail)
    assert time.process_time() - begun < 3
