"""Settings: parsed once, named when they are wrong, and all of them documented."""

from dataclasses import FrozenInstanceError, fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings import LOCAL_DATABASE, Settings

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
VARIABLES = {setting.name: setting.metadata["variable"] for setting in fields(Settings)}

# Every setting with a text that it takes and what that means.
RIGHT = [
    ("database_url", "sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    ("database_ca", "/etc/ca.pem", "/etc/ca.pem"),
    ("database_pool", "keep", "keep"),
    ("database_pool", "none", "none"),
    ("statement_timeout_s", "0.5", 0.5),
    ("statement_timeout_s", "900", 900),
    ("request_timeout_s", "0.5", 0.5),
    ("job_timeout_s", "86400", 86_400),
    ("connect_timeout_s", "60", 60),
    ("connect_timeout_s", "0.1", 0.1),
    ("interval_s", "60", 60),
    ("interval_s", "300", 300),
    ("interval_s", "86400", 86_400),
    ("echo_timeout_s", "10", 10),
    ("echo_timeout_s", "0.01", 0.01),
    ("echo_gap_s", "0", 0),
    ("echo_gap_s", "5", 5),
    ("rate_pps", "1e3", 1000),
    ("rate_pps", "0", 0),
    ("ping_now", "0", False),
    ("allow_loopback", "0", False),
    ("allow_private", "No", False),
    ("authentication", "off", False),
    ("hosts", "a.example", ("a.example",)),
    ("hosts", " A.example , b.example,, ", ("a.example", "b.example")),
    ("hosts", "*", ("*",)),
    ("witnesses", "gateway", ("gateway",)),
    ("witnesses", "none", ()),
    ("witnesses", "192.0.2.1, 2001:DB8::1", ("192.0.2.1", "2001:db8::1")),
    ("trusted_proxies", "127.0.0.1", (ip_network("127.0.0.1/32"),)),
    ("trusted_proxies", "::1, 10.0.0.0/8, Unix", (*map(ip_network, ("::1", "10.0.0.0/8")), "unix")),
    ("keep_raw_hours", "72", 72),
    ("keep_days", "30", 30),
    ("batch_queue_url", "https://sqs.example/batches", "https://sqs.example/batches"),
    ("result_queue_url", "https://sqs.example/results", "https://sqs.example/results"),
    ("batch_size", "50", 50),
    ("database_secret", "arn:aws:secretsmanager:x", "arn:aws:secretsmanager:x"),
    ("worker_in_server", "1", True),
    ("worker_in_server", "TRUE", True),
    ("worker_in_server", "yes", True),
    ("worker_in_server", "on", True),
    ("worker_in_server", "false", False),
    ("batch_queue_url", "https://sqs.example/1/batches", "https://sqs.example/1/batches"),
    ("result_queue_url", "https://sqs.example/1/results", "https://sqs.example/1/results"),
    ("batch_size", "1", 1),
    ("batch_size", "1000", 1000),
    ("database_secret", "arn:aws:secretsmanager:x:1:secret", "arn:aws:secretsmanager:x:1:secret"),
]
WRONG = [
    ("database_pool", "some"),
    ("database_pool", "KEEP"),
    ("statement_timeout_s", "0"),
    ("statement_timeout_s", "901"),
    ("statement_timeout_s", "nan"),
    ("statement_timeout_s", "inf"),
    ("statement_timeout_s", "30s"),
    ("request_timeout_s", "0"),
    ("request_timeout_s", "61"),
    ("job_timeout_s", "0"),
    ("connect_timeout_s", "-1"),
    ("connect_timeout_s", "61"),
    ("interval_s", "0"),
    ("interval_s", "-60"),
    ("interval_s", "30"),
    ("interval_s", "90"),
    ("interval_s", "420"),  # seven minutes don't divide a day
    ("interval_s", "172800"),
    ("interval_s", "60.0"),
    ("interval_s", "1m"),
    ("interval_s", "9" * 5000),
    ("echo_timeout_s", "0"),
    ("echo_timeout_s", "11"),
    ("echo_gap_s", "-0.1"),
    ("echo_gap_s", "5.1"),
    ("rate_pps", "-1"),
    ("rate_pps", "1e7"),
    ("allow_loopback", "maybe"),
    ("allow_private", "2"),
    ("authentication", "none"),
    ("trusted_proxies", "nginx"),
    ("trusted_proxies", "127.0.0.1:80"),
    ("trusted_proxies", "10.0.0.1/8"),
    ("trusted_proxies", "*"),
    ("keep_raw_hours", "1"),
    ("keep_days", "0"),
    ("batch_size", "0"),
    ("worker_in_server", "yes please"),
    ("worker_in_server", " "),
    ("batch_size", "0"),
    ("batch_size", "1001"),
    ("batch_size", "1e2"),
    ("batch_size", "100.0"),
]


BLANKS = ["{}\n", "\r\n{}\r\n", " \t{}\u00a0", "{}\u2028"]


@pytest.mark.parametrize(("name", "text", "value"), RIGHT)
def test_blanks_around_a_setting_mean_nothing(name: str, text: str, value: object) -> None:
    for blanks in BLANKS:
        settings = Settings.from_env({VARIABLES[name]: blanks.format(text)})
        assert getattr(settings, name) == value


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(
    "text", ["\n", "a\nb", "a\0", "a\x1b[0m", "\ufeffa", "a\u202eb", '"a"', "'a'"]
)
def test_no_setting_holds_what_cant_be_seen_or_stands_in_quotes(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({VARIABLES[name]: text})
    told = str(refusal.value)
    assert told.startswith(f"{VARIABLES[name]} must ")
    assert told.isprintable()


def test_a_url_that_is_refused_for_a_letter_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="character 26 is U\\+000A") as refusal:
        Settings.from_env({"DATABASE_URL": "postgres://us:s3cr3t@host\n/watch"})
    assert "s3cr3t" not in str(refusal.value)


def test_every_setting_has_an_example_here() -> None:
    assert {name for name, _, _ in RIGHT} == set(VARIABLES)


@pytest.mark.parametrize(("name", "text", "value"), RIGHT)
def test_a_setting_is_read_from_its_variable(name: str, text: str, value: object) -> None:
    settings = Settings.from_env({VARIABLES[name]: text, "PINGLET_UNKNOWN": "x"})
    assert getattr(settings, name) == value
    others = [other for other in VARIABLES if other != name]
    assert all(getattr(settings, other) == getattr(Settings(), other) for other in others)


@pytest.mark.parametrize(("name", "text"), WRONG, ids=lambda text: text[:20])
def test_a_value_that_cannot_be_used_is_named_with_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({VARIABLES[name]: text})
    told = str(refusal.value)
    assert told.startswith(f"{VARIABLES[name]} must be ")
    assert told.endswith(f", got {text!r}")
    assert "\n" not in told


def test_what_would_be_right_is_said_without_a_phrase_of_pythons() -> None:
    told = []
    wrong = {"batch_size": "1e2", "rate_pps": "fast", "authentication": "none", "interval_s": "7"}
    for name, text in wrong.items():
        with pytest.raises(SettingsError) as refusal:
            Settings.from_env({VARIABLES[name]: text})
        told.append(str(refusal.value))
    assert told == [
        "PINGLET_BATCH_SIZE must be a whole number, 1 to 1000, got '1e2'",
        "PINGLET_RATE_PPS must be 0 to 1000000, got 'fast'",
        "PINGLET_AUTHENTICATION must be 1 or 0 (or true/false, yes/no, on/off), got 'none'",
        "PINGLET_INTERVAL_S must be whole minutes that divide a day, in seconds, such as 60 or "
        "300, got '7'",
    ]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env(dict.fromkeys(VARIABLES.values(), "")) == Settings()
    assert Settings().database_url == f"sqlite:///{LOCAL_DATABASE}"


def test_on_lambda_no_proxy_is_believed_but_the_gateway() -> None:
    environ = {"PINGLET_TRUSTED_PROXIES": "0.0.0.0/0", "AWS_LAMBDA_FUNCTION_NAME": "pinglet-api"}
    with pytest.raises(SettingsError, match="PINGLET_TRUSTED_PROXIES can't be used on AWS Lambda"):
        Settings.from_env(environ)


def test_nothing_of_our_own_network_is_probed_from_lambda_unless_it_is_said() -> None:
    deployed = {"AWS_LAMBDA_FUNCTION_NAME": "pinglet-prober"}
    assert not Settings.from_env(deployed).address_rules.allows("10.0.0.1")
    assert not Settings.from_env(deployed).address_rules.allows("127.0.0.1")
    said = deployed | {"PINGLET_ALLOW_PRIVATE": "1", "PINGLET_ALLOW_LOOPBACK": "1"}
    assert Settings.from_env(said).address_rules.allows("10.0.0.1")
    assert Settings.from_env(said).address_rules.allows("127.0.0.1")
    assert Settings.from_env({}).address_rules.allows("10.0.0.1")


def test_authentication_cannot_be_switched_off_on_lambda() -> None:
    deployed = {"AWS_LAMBDA_FUNCTION_NAME": "pinglet-api", "PINGLET_AUTHENTICATION": "0"}
    with pytest.raises(SettingsError, match="PINGLET_AUTHENTICATION"):
        Settings.from_env(deployed)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().interval_s = 120


def test_variables_are_told_apart_and_ours_carry_our_name() -> None:
    assert len(set(VARIABLES.values())) == len(VARIABLES)
    assert all(name.startswith("PINGLET_") for name in VARIABLES.values() if name != "DATABASE_URL")


def default_text(value: object) -> str:
    """Return a default as one would write it into the environment."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace(str(LOCAL_DATABASE), str(LOCAL_DATABASE.relative_to(ROOT)))


def table() -> str:
    """Return the table of all settings as docs/settings.md holds it."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in fields(Settings):
        default = default_text(setting.default)
        shown = f"`{default}`" if default else "(empty)"
        meaning = setting.metadata["meaning"].replace("|", "\\|")
        lines.append(f"| `{setting.metadata['variable']}` | {shown} | {meaning} |")
    return "\n".join(lines)


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    found = DOCUMENT.read_text(encoding="utf-8")
    assert table() in found, f"docs/settings.md should hold this table:\n{table()}"
