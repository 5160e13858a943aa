"""Generated tables are current, complete and refuse what they do not know."""

import pytest

from karpathy_control.bringup import docs
from karpathy_control.contracts.config import NODE_CONFIGS, ConfigError, specs
from karpathy_control.contracts.interfaces import ACTIONS, SERVICES, TOPICS
from karpathy_control.contracts.modes import Mode, Reason


def test_documents_are_current():
    assert docs.stale() == [], 'renew with: python -m karpathy_control.bringup.docs --write'


def test_the_readme_holds_every_table():
    text = docs.documents()[0].read_text(encoding='utf-8')
    for name in docs.GENERATORS:
        assert f'<!-- begin generated: {name} -->' in text


def test_every_topic_service_parameter_mode_and_reason_is_listed():
    for rows, text in ((TOPICS, docs.topics()), ((*SERVICES, *ACTIONS), docs.services())):
        assert all(f'`{row.name}`' in text for row in rows)
    text = docs.parameters()
    for kind in NODE_CONFIGS.values():
        assert all(f'`{spec.name}`' in text for spec in specs(kind))
    assert all(f'`{item.value}`' in docs.modes() for item in (*Mode, *Reason))


def test_only_what_is_between_the_marks_changes():
    text = 'a\n<!-- begin generated: modes -->\nold\n<!-- end generated: modes -->\nb\n'
    new = docs.renew(text, 'x.md')
    assert new.startswith('a\n<!-- begin generated: modes -->\nModes: `inactive`')
    assert new.endswith('<!-- end generated: modes -->\nb\n')
    assert 'old' not in new
    assert docs.renew(new, 'x.md') == new


@pytest.mark.parametrize(('text', 'match'), [
    ('<!-- begin generated: moods -->\n<!-- end generated: moods -->', "x.md: nothing generates "
     "'moods'; it takes topics"),
    ('<!-- begin generated: modes -->\n', 'no partner'),
    ('<!-- begin generated: modes -->\n<!-- end generated: topics -->', 'no partner'),
])
def test_bad_marks_are_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        docs.renew(text, 'x.md')


def test_bars_in_cells_do_not_break_a_table():
    assert docs.table(('a', 'b'), [('x|y', 'z')]) == '| a | b |\n| --- | --- |\n| x\\|y | z |\n'


def test_check_and_write(tmp_path, monkeypatch, capsys):
    (tmp_path / 'doc').mkdir()
    page = tmp_path / 'README.md'
    page.write_text('<!-- begin generated: topics -->\n<!-- end generated: topics -->\n')
    monkeypatch.setattr(docs, 'ROOT', tmp_path)
    monkeypatch.setattr(docs.stale, '__defaults__', (tmp_path,))
    assert docs.main(['--check']) == 1
    assert 'not current: README.md' in capsys.readouterr().out
    assert docs.main(['--write']) == 0
    assert docs.main(['--check']) == 0
    assert '`cmd_vel`' in page.read_text()
