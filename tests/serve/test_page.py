"""The page of the service, in a real browser without a window."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

pytest.importorskip("selenium", reason="no Selenium: pip install selenium")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("no Chromium with its driver on this machine", allow_module_level=True)

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from small_weights import picture


@pytest.fixture
def browser(service):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(service[1])
        yield driver
    finally:
        driver.quit()


def status(browser, ending: str):
    """The status line, once it ends so."""
    line = browser.find_element(By.ID, "status")
    WebDriverWait(browser, 60).until(lambda _: line.text.endswith(ending), ending)
    return line


def move_slider(browser, value: float) -> None:
    browser.execute_script(
        "const s = document.getElementById('score'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change'));",
        value,
    )


def test_a_picture_is_chosen_dropped_and_looked_at_again(browser, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "street.png")
    assert browser.title == "Objects in a picture"
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "street.png"))
    assert "objects" in status(browser, " s").text
    result = browser.find_element(By.ID, "result")
    assert result.is_displayed() and "street.png" in result.get_attribute("alt")
    move_slider(browser, 0)
    WebDriverWait(browser, 60).until(lambda _: status(browser, " s").text.startswith("5 objects"))
    assert browser.find_element(By.ID, "shown").text == "0"
    assert browser.execute_script("return arguments[0].naturalWidth", result) > 0

    first = result.get_attribute("src")
    browser.execute_async_script(
        "const done = arguments[0];"
        "fetch(document.getElementById('result').src).then(a => a.blob()).then(blob => {"
        "  const data = new DataTransfer();"
        "  data.items.add(new File([blob], 'dropped.jpg', {type: 'image/jpeg'}));"
        "  document.getElementById('drop').dispatchEvent("
        "    new DragEvent('drop', {dataTransfer: data, bubbles: true}));"
        "  done();"
        "});"
    )
    WebDriverWait(browser, 60).until(
        lambda _: result.get_attribute("src") != first and "dropped" in result.get_attribute("alt")
    )


def test_what_is_no_picture_is_said_on_the_page(browser, tmp_path):
    (tmp_path / "notes.png").write_text("not a picture at all")
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "notes.png"))
    line = browser.find_element(By.ID, "status")
    WebDriverWait(browser, 60).until(lambda _: line.get_attribute("class") == "error")
    assert "picture" in line.text and "Looking" not in line.text
    assert not browser.find_element(By.ID, "result").is_displayed()
