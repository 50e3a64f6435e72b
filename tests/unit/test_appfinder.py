"""From a name to an app. What goes wrong in an import is tested with real children."""

from __future__ import annotations

import sys

import pytest
from childdriver import APPS

from taskq.errors import AppNotFound
from taskq.worker.appfinder import find_app


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("childapp", "twoapps", "noapp"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("spec", ["childapp", "childapp:app"])
def test_app_is_found_by_its_module_or_its_attribute(spec):
    assert find_app(spec, APPS).name == "childapp"


def test_directory_is_put_on_the_path_once():
    find_app("childapp", APPS)
    find_app("childapp", APPS)
    assert sys.path.count(APPS) == 1


def test_one_of_several_apps_is_found_by_its_attribute():
    assert find_app("twoapps:two", APPS).name == "two"


@pytest.mark.parametrize("spec", ["", ":app", "a-b", "a..b", "a:b:c", "a:b()", "a b", "os.path:join\n"])
def test_spec_of_another_form_is_refused_before_any_import(spec):
    with pytest.raises(AppNotFound, match="is not of the form module or module:attr"):
        find_app(spec)


def test_submodule_that_is_missing_is_named():
    with pytest.raises(AppNotFound, match=r"there is no module 'os\.nothing'"):
        find_app("os.nothing")
