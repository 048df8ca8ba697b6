"""The explorers in a real browser: JupyterLab in headless Chromium, driven as a hand would drive it."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import requests
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from spider_utils.figures.painting import paint_classes, paint_errors

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 90  # seconds; a kernel starts slowly on a busy machine
NOT_YET = (StaleElementReferenceException, ElementNotInteractableException, ElementClickInterceptedException)
NOTEBOOK = """\
import numpy as np
import pandas as pd

from spider_utils.figures import browse_predictions, show_widget

arrays = [np.load(f"{name}.npy", mmap_mode="r") for name in ("images", "reference", "prediction")]
show_widget(browse_predictions(*arrays, pd.read_csv("table.csv"), source="phantom"))"""
CONTROLS = """\
import numpy as np
import pandas as pd

from spider_utils import data, figures

stack = data.sample_stack("41_t2_SPACE")
figures.show_widget(figures.browse(stack.image, stack.classes(), source="sample", aspect=stack.aspect))
images, reference, prediction = [np.load(f"{name}.npy") for name in ("images", "reference", "prediction")]
models = {"first": prediction, "second": np.roll(prediction, 3, axis=1)}
table = pd.read_csv("table.csv")
figures.show_widget(figures.browse_predictions(images, reference, models, table, source="phantom"))"""
HANDLES = {  # of each kind of control: what is taken hold of
    "slider": ".noUi-handle",
    "checkbox": "input[type=checkbox]",
    "dropdown": "select",
    "toggle": ".widget-toggle-buttons button",
    "button": "button.widget-button:not(.widget-toggle-button)",
}
PICTURE_BYTES = """\
const [picture, done] = arguments;
fetch(picture.src).then(answer => answer.blob()).then(blob => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
}).catch(() => done(""));"""  # "" where the picture was replaced meanwhile


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> dict[str, np.ndarray]:
    """Four slices of 64 x 48 pixels, all different, as files in the folder that JupyterLab opens."""
    rng = np.random.default_rng(0)
    reference = np.zeros((4, 64, 48), np.uint8)
    for number in range(4):
        reference[number, 10 : 30 + number, 5:20] = 1
        reference[number, 5:55, 25 : 30 + number] = 2
        reference[number, 35:42, 5 : 18 + number] = 3
    images = rng.integers(0, 256, reference.shape, np.uint8)
    return {"images": images, "reference": reference, "prediction": np.roll(reference, 3, axis=1)}


@pytest.fixture
def server(arrays, tmp_path):
    """JupyterLab at work in a folder with the arrays and the notebook; gives its url and token."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    table = pd.DataFrame({"series": "7_t2", "patient": [7, 7, 8, 8], "slice_index": range(4)})
    table["dice"] = [0.8, 0.9, 0.3, 0.7]
    table.to_csv(folder / "table.csv", index=False)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name, code in (("browse", NOTEBOOK), ("controls", CONTROLS)):
        nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata=kernel), folder / f"{name}.ipynb")
    places = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    places += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    outside = {name: str(tmp_path / name.lower()) for name in places}
    environment = {name: value for name, value in os.environ.items() if name != "SPIDER_STATIC"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly"]
    with open(tmp_path / "log.txt", "w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment | outside, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield wait_for_notes(process, Path(outside["JUPYTER_RUNTIME_DIR"]), tmp_path / "log.txt")
    finally:
        process.terminate()  # it shuts its kernels down
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_notes(process: subprocess.Popen, folder: Path, log: Path) -> dict:
    """Return what a server writes down of itself (url, token, ...) once it listens."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        for path in folder.glob("jpserver-*.json"):
            try:
                return json.loads(path.read_text())
            except json.JSONDecodeError:
                pass  # half written
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def browser(tmp_path):
    """Headless Chromium; skips where there is none, or no driver for it."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        pytest.skip(f"no {' or '.join(BROWSERS)} with chromedriver (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"):
        options.add_argument(f"--{option}")
    for option in ("disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"):
        options.add_argument(f"--{option}")
    options.add_argument("--window-size=1400,1200")
    options.add_argument(f"--user-data-dir={tmp_path / 'chromium'}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_program))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


class Page:
    """The notebook on the screen: what the explorer shows, and its controls."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def wait(self, condition: Callable[[webdriver.Chrome], object], expected: str) -> Any:
        """Return what a condition gives as soon as it gives something; elements may be replaced meanwhile."""
        wait = WebDriverWait(self.driver, PATIENCE, ignored_exceptions=NOT_YET)
        return wait.until(condition, f"expected {expected}")

    def find(self, css: str, text: str = "") -> WebElement:
        """Return the first element that a CSS selector and its text pick out; wait for it."""

        def found(driver: webdriver.Chrome) -> WebElement | None:
            elements = driver.find_elements(By.CSS_SELECTOR, css)
            return next((element for element in elements if text in element.text), None)

        return self.wait(found, f"{css} {text}")

    def run_cell(self, server: dict) -> None:
        """Run the first cell once the kernel is there, and again if the notebook was not listening yet."""

        def connected(_driver: object) -> bool:
            answer = requests.get(f"{server['url']}api/kernels", params={"token": server["token"]}, timeout=PATIENCE)
            return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in answer.json())

        def started(driver: webdriver.Chrome) -> bool:
            if self.find(".jp-InputPrompt").text in ("[*]:", "[1]:"):
                return True
            self.find(".jp-CodeCell .cm-content").click()
            ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
            return False

        self.wait(connected, "a kernel")
        self.wait(started, "the cell to run")

    def encoded_picture(self, picture: WebElement) -> str:
        return self.driver.execute_async_script(PICTURE_BYTES, picture)

    def shown(self, number: int) -> tuple[str, str]:
        """Return the picture of a widget, encoded, and all words of the page."""
        pictures = self.wait(lambda driver: driver.find_elements(By.CSS_SELECTOR, "img.widget-image"), "pictures")
        return self.encoded_picture(pictures[number]), self.find(".jp-Notebook").text

    def use(self, number: int, handle: WebElement) -> None:
        """Use a control of a widget, and wait until what the widget shows has changed."""
        before = self.shown(number)
        if handle.tag_name == "div":
            handle.send_keys(Keys.ARROW_RIGHT)
        elif handle.tag_name == "select":
            Select(handle).select_by_index(1)
        else:
            self.driver.execute_script("arguments[0].click()", handle)
        self.wait(lambda _driver: "" not in (now := self.shown(number)) and now != before, "another picture")

    def picture(self) -> np.ndarray:
        encoded = self.encoded_picture(self.find("img.widget-image"))
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))) if encoded else np.zeros(0)

    def wait_for(self, picture: np.ndarray, caption: str) -> None:
        """Wait until exactly this picture, with a caption that has this text, is there."""
        self.wait(lambda _driver: np.array_equal(self.picture(), picture), f"the picture of {caption}")
        self.find(".widget-html", caption)

    def click(self, css: str, text: str = "") -> None:
        """Click on an element as soon as it can be clicked on."""
        self.wait(lambda _driver: self.find(css, text).click() is None, f"to click on {css} {text}")


@pytest.mark.slow
def test_the_explorer_in_jupyterlab(browser, server, arrays):
    images, reference, prediction = arrays.values()
    browser.get(f"{server['url']}lab/tree/browse.ipynb?token={server['token']}")
    page = Page(browser)
    page.run_cell(server)
    page.wait_for(paint_errors(images[2], reference[2], prediction[2], 0.3), "slice 2 (1 of 4, worst first)")
    slider = page.find(".widget-slider .noUi-handle")
    slider.send_keys(Keys.ARROW_RIGHT)
    page.wait_for(paint_errors(images[3], reference[3], prediction[3], 0.3), "slice 3 (2 of 4, worst first)")
    page.click("button", "next")
    page.wait_for(paint_errors(images[0], reference[0], prediction[0], 0.3), "slice 0 (3 of 4, worst first)")
    page.click(".widget-toggle-buttons button", "prediction")
    page.wait_for(paint_classes(images[0], prediction[0], 0.3), "slice 0 (3 of 4, worst first)")
    page.click(".widget-checkbox label", "worst first")
    page.wait_for(paint_classes(images[0], prediction[0], 0.3), "slice 0 (1 of 4)")
    slider.send_keys(Keys.ARROW_RIGHT)
    page.wait_for(paint_classes(images[1], prediction[1], 0.3), "slice 1 (2 of 4)")
    page.click(".widget-checkbox label", "worst first")
    page.wait_for(paint_classes(images[2], prediction[2], 0.3), "slice 2 (1 of 4, worst first)")


@pytest.mark.slow
def test_every_control_of_every_widget_changes_what_is_shown(browser, server):
    """Sliders, switches, lists and buttons of notebook 1's explorer and of notebook 6's, with two models."""
    browser.get(f"{server['url']}lab/tree/controls.ipynb?token={server['token']}")
    page = Page(browser)
    page.run_cell(server)
    page.wait(lambda driver: len(driver.find_elements(By.CSS_SELECTOR, "img.widget-image")) == 2, "two pictures")
    used = []
    for number, root in enumerate(browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output .widget-vbox")):
        for kind, css in HANDLES.items():
            for handle in reversed(root.find_elements(By.CSS_SELECTOR, css)):  # "next" before "previous"
                for _ in range(2 if kind == "checkbox" else 1):  # off, and on again
                    page.use(number, handle)
                used.append(kind)
    assert Counter(used) == {"slider": 4, "checkbox": 7, "dropdown": 2, "toggle": 5, "button": 2}
    assert "Traceback" not in browser.page_source and "Error" not in page.find(".jp-Notebook").text
