"""The page of a station: what it shows, what one may ask and command, and what came of it."""

import asyncio
import re
import time
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page, expect

from devices import Job, Station
from devices.messages import Device
from tests.e2e.console.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKUP: Final = "<img src=x onerror=alert(1)>"


class Gatehouse:
    """A station with a gate, a sensor, and a device whose name is markup."""

    def __init__(self, console: Console, **options: Any) -> None:
        self.jobs: list[Job] = []
        self.temp = 20.0
        self.released = asyncio.Event()
        self.station: Station = console.station("st-1", status=self._status, **{"status_interval": 0.5} | options)
        self.station.on("open-gate")(self._open)
        self.station.on("break")(self._break)
        self.station.on("wait")(self._wait)

    def _status(self) -> list[dict[str, Any]]:
        self.temp += 0.5
        odd = {MARKUP: MARKUP, "firmware": {"version": [1, 2]}, "ok": True, "none": None}
        return [
            {"deviceId": "gate-1", "name": "Barrier", "type": "controller", "metrics": {"temp": self.temp, "open": 0}},
            {"deviceId": "sensor-1", "name": "Ground", "type": "sensor", "metrics": {"battery": 12.3, "signal": -70}},
            {"deviceId": MARKUP, "name": MARKUP, "type": MARKUP, "status": "error", "metrics": odd},
        ]

    async def _open(self, job: Job) -> Any:
        self.jobs.append(job)
        await self.released.wait()
        return {"open": True}

    async def _break(self, job: Job) -> Any:
        raise ValueError(f"{MARKUP} jammed")

    async def _wait(self, job: Job) -> Any:
        await self.released.wait()


async def gatehouse(console: Console, **options: Any) -> Gatehouse:
    """It is connected, and the hub knows it."""
    made = Gatehouse(console, **options)
    await console.connect(made.station)
    return made


async def enter(console: Console, **fields: Any) -> None:
    """Somebody enters the station."""
    admin = console.hub.tokens.mint_user("root", role="admin")
    async with httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {admin}"}) as http:
        assert (await http.post("/stations", json={"stationId": "st-1"} | fields)).status_code == 201


def device(page: Page, name: str) -> Any:
    """The card of a device."""
    return page.locator("hub-device").filter(has=page.get_by_role("heading", name=name, exact=True))


async def send_other(page: Page, type: str, params: str = "", deadline: str = "5") -> Any:
    """Fills in the form for any command and sends it; gives the place of its outcome."""
    commands = page.locator("hub-commands")
    if not await commands.get_by_label("Type").is_visible():
        await commands.get_by_text("Send another command").click()
    await commands.get_by_label("Type").fill(type)
    await commands.get_by_label("Parameters").fill(params)
    await commands.get_by_label("Deadline").fill(deadline)
    await commands.get_by_role("button", name="Send command").click()
    return commands.locator("form .outcome")


async def test_shown_live(console: Console) -> None:
    """What was entered, how it is, and every metric with its unit, as it changes."""
    await enter(console, name="North entrance", location="Hall 3", tags=["parking", "north"])
    await gatehouse(console)
    page = await console.page("viewer", "/station/st-1")
    await expect(page.get_by_role("heading", name="North entrance", exact=True)).to_be_visible()
    await expect(page.locator(".station-head .state")).to_have_text("Error")
    await expect(page.get_by_role("list", name="Tags").get_by_role("listitem")).to_have_text(["parking", "north"])
    await expect(page.locator(".fact")).to_have_text([
        re.compile("Id *st-1"),
        re.compile("Location *Hall 3"),
        re.compile(r"Since.*\d\d:\d\d:\d\d"),
        re.compile("Connected by *MQTT"),
        re.compile(r"Last status *\d+ sec ago"),
    ])  # fmt: skip
    await expect(device(page, "Ground").locator(".metric-value")).to_have_text(["12.3 %", "-70 dBm"])
    temp = device(page, "Barrier").locator(".metric-value").first
    await expect(temp).to_have_text(re.compile("°C$"))
    before = await temp.inner_text()
    await expect(temp).not_to_have_text(before)
    await console.picture(page, "station")
    assert await page.title() == "North entrance · StationHub"


async def test_any_name_and_value_is_text(console: Console) -> None:
    """Markup in ids, names, types, metrics, values and errors is only text."""
    await gatehouse(console)
    page = await console.page("operator", "/station/st-1")
    card = device(page, MARKUP)
    await expect(card.locator(".metric dt")).to_have_text([MARKUP, "firmware", "ok", "none"])
    await expect(card.locator(".metric-value")).to_have_text([MARKUP, '{"version":[1,2]}', "true", "–"])
    await expect(card.locator(".device-about")).to_contain_text(MARKUP)
    await expect(await send_other(page, "break", f'"{MARKUP}"')).to_contain_text(f"{MARKUP} jammed")
    await expect(page.locator("hub-events")).to_contain_text(f"Command break {MARKUP}")
    await page.evaluate("at => { location.hash = at }", f"/station/{MARKUP.replace('/', '')}")
    await expect(page.locator(".empty")).to_contain_text(MARKUP)
    assert await page.locator("main img").count() == 0


async def test_charts_begin_before_the_page(console: Console) -> None:
    """With what the hub kept of ten minutes in which nobody looked."""
    services = console.hub.services
    assert services.history is not None
    now = services.clock.monotonic()
    for age in range(590, 4, -5):
        metrics = {"temp": -age / 10, "open": age % 2}
        services.history.take("st-1", [Device(device_id="gate-1", metrics=metrics)], now - age)
    await gatehouse(console)
    page = await console.page("viewer", "/station/st-1")
    chart = device(page, "Barrier").locator("canvas").first
    note = device(page, "Barrier").locator(".chart-note").first
    await expect(note).to_have_text(re.compile(r"^-59 °C to [\d.]+ °C$"))
    assert int(await chart.get_attribute("aria-valuemax") or 0) >= 118
    await console.picture(page, "station-history")
    await chart.focus()
    await page.keyboard.press("Home")
    await expect(note).to_have_text(re.compile(r"^-59 °C at "))


async def test_charts(console: Console) -> None:
    """Each number is drawn as it comes; a value is read with the pointer or the keyboard."""
    await gatehouse(console)
    page = await console.page("viewer", "/station/st-1")
    chart = device(page, "Barrier").locator("canvas").first
    painted = """canvas => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const [red, green, blue] = getComputedStyle(canvas).color.match(/[\\d.]+/g).map(Number);
      let many = 0;
      for (let at = 0; at < data.length; at += 4) {
        const off = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue);
        if (data[at + 3] > 200 && off < 30) many++;
      }
      return many;
    }"""
    await expect(chart).to_have_attribute("aria-label", "Barrier, Temperature: the last ten minutes")
    await expect(chart).to_have_attribute("aria-valuetext", re.compile(r"^[\d.]+ °C to [\d.]+ °C$"))
    assert await chart.evaluate(painted) > 10
    note = device(page, "Barrier").locator(".chart-note").first
    await chart.focus()
    await expect(note).to_have_text(re.compile(r"^[\d.]+ °C at \d\d:\d\d:\d\d$"))
    await page.keyboard.press("Home")
    await expect(chart).to_have_attribute("aria-valuenow", "0")
    first = await note.inner_text()
    await page.keyboard.press("ArrowRight")
    await expect(note).not_to_have_text(first)
    await expect(chart).to_have_attribute("aria-valuenow", "1")
    await page.keyboard.press("Escape")
    await expect(note).to_have_text(re.compile("°C to"))
    box = await chart.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 10)
    await expect(note).to_have_text(re.compile("°C at"))
    await page.mouse.move(0, 0)
    await expect(note).to_have_text(re.compile("°C to"))


async def test_request_status(console: Console) -> None:
    """The delay of the answer is measured; a station that is gone is told."""
    house = await gatehouse(console, status_interval=None)
    page = await console.page("viewer", "/station/st-1")
    await page.get_by_role("button", name="Request status").click()
    await expect(page.locator(".asked")).to_have_text(re.compile(r"^Answered in \d+ ms \(MQTT\)$"))
    await house.station.close()
    await expect(page.locator(".station-head .state")).to_have_text("Disconnected")
    await expect(page.get_by_role("button", name="Request status")).to_be_disabled()
    await expect(page.locator("hub-events .event").first).to_contain_text("Disconnected")


async def test_gate(console: Console) -> None:
    """A gate opens after it was asked whether, and not otherwise; everybody sees later what came of it."""
    await enter(console, name="North")
    house = await gatehouse(console)
    page = await console.page("operator", "/station/st-1")
    gate = page.get_by_role("button", name="Open Barrier")
    dialog = page.get_by_role("dialog")
    for refuse in ("Enter", "Escape"):  # Cancel has the focus
        await gate.click()
        await expect(dialog).to_contain_text("“Barrier (gate-1)” of station North (st-1)")
        await page.keyboard.press(refuse)
        await expect(dialog).to_have_count(0)
        await expect(gate).to_be_focused()
    await gate.click()
    await page.evaluate("location.hash = '#/calls'")
    await expect(dialog).to_have_count(0)  # a question goes with its page
    await page.go_back()
    await gate.click()
    await console.picture(page, "station-gate")
    await dialog.get_by_role("button", name="Open gate").click()
    await expect(page.locator(".gate .outcome")).to_have_text("Sent, waiting for the station…")
    await gate.click(force=True)
    await expect(dialog).to_have_count(0)
    await expect(gate).to_be_focused()
    house.released.set()
    await expect(page.locator(".gate .outcome")).to_have_text(re.compile(r'^Done in \d+ ms\. {"open":true}$'))
    assert [job.params for job in house.jobs] == [{"deviceId": "gate-1"}]
    event = page.locator("hub-events .event")
    await expect(event).to_have_count(1)
    await expect(event).to_contain_text('Command open-gate {"deviceId":"gate-1"}')
    other = await console.page("operator", "/station/st-1")
    await expect(other.locator("hub-events .event")).to_contain_text('{"open":true}')


@pytest.mark.parametrize("hours", [-3, 3])
async def test_a_clock_that_is_wrong(console: Console, hours: int) -> None:
    """A browser whose clock is hours off shows all in the order in which it was, at the hub's time."""
    await enter(console)
    context = await console.context()
    await context.add_init_script(f"const now = Date.now; Date.now = () => now() + {hours * 3_600_000}")
    page = await console.page("operator", "/station/st-1", context=context)
    await expect(page.locator(".station-head .state")).to_have_text("Disconnected")
    house = await gatehouse(console)
    await expect(page.locator("hub-events .event-text")).to_have_text(["Connected"])
    since = await page.locator(".fact", has_text="Since").locator("dd").inner_text()
    shown = await page.locator("hub-events time").inner_text()
    assert abs(_seconds(shown) - _seconds(since)) <= 1
    await expect(await send_other(page, "no-such-command")).to_contain_text("The station failed: ")
    await house.station.close()
    events = page.locator("hub-events .event")
    await expect(events).to_have_count(3)
    await expect(events).to_contain_text(["Disconnected", "Command no-such-command", "Connected"])
    at = await page.locator("hub-events time").evaluate_all("all => all.map(one => Date.parse(one.dateTime))")
    assert at == sorted(at, reverse=True)
    assert abs(at[0] / 1000 - time.time()) < 60


def _seconds(text: str) -> int:
    """The time of day that a text ends with, in seconds."""
    found = re.search(r"(\d\d):(\d\d):(\d\d)$", text)
    assert found is not None, text
    hours, minutes, seconds = map(int, found.groups())
    return (hours * 60 + minutes) * 60 + seconds


async def test_commands_that_fail(console: Console) -> None:
    """The station's own words, no such command, no answer in time, bad JSON, and a station that is gone."""
    house = await gatehouse(console)
    page = await console.page("operator", "/station/st-1")
    outcome = await send_other(page, "break")
    await expect(outcome).to_contain_text("The station failed: ")
    await expect(outcome).to_contain_text("jammed")
    await send_other(page, "no-such-command")
    await expect(outcome).to_contain_text("The station failed: ")
    await expect(outcome).not_to_contain_text("jammed")
    await send_other(page, "wait", deadline="2")
    await expect(outcome).to_have_text("The station got the command, but did not finish in time.")
    console.expect("400")
    await send_other(page, "report-status")
    await expect(outcome).to_contain_text("Not sent: ")
    events = page.locator("hub-events .event")
    before = await events.count()
    await send_other(page, "open-gate", "{lane")
    await expect(page.locator(".field-error")).to_contain_text("This is not JSON")
    assert await events.count() == before
    assert house.jobs == []
    await house.station.close()
    await expect(page.get_by_role("button", name="Send command")).to_be_disabled()
    await expect(page.locator("#command-refusal")).to_have_text("The station is offline.")


async def test_a_command_that_is_half_typed(console: Console) -> None:
    """Another language leaves it as it is, unfolded, and what is wrong with it is told."""
    await gatehouse(console)
    page = await console.page("operator", "/station/st-1")
    await page.get_by_text("Send another command").click()
    await page.get_by_label("Type").fill("open-gate")
    await page.get_by_label("Parameters").fill('{"lane": ')
    await page.get_by_label("Deadline").fill("")
    await page.get_by_label("Language").select_option("zh")
    await expect(page.get_by_label("类型")).to_have_value("open-gate")
    await expect(page.locator("textarea")).to_have_value('{"lane": ')
    await expect(page.locator("input[name=timeout]")).to_have_value("")
    await expect(page.locator(".field-error")).to_be_visible()


async def test_viewer(console: Console) -> None:
    """A viewer sees all of it, and why the buttons do nothing."""
    await enter(console, cameras=[{"cameraId": "lane", "name": "Lane"}])
    await gatehouse(console)
    page = await console.page("viewer", "/station/st-1")
    gate = page.get_by_role("button", name="Open Barrier")
    await expect(gate).to_be_disabled()
    await expect(gate).to_have_accessible_description("Only operators may do this; you are signed in as viewer.")
    await expect(page.get_by_role("button", name="View: Lane")).to_be_disabled()
    await expect(page.get_by_role("button", name="Request status")).to_be_enabled()


async def test_unknown_station(console: Console) -> None:
    """There is no such station; when it comes, it is shown."""
    page = await console.page("operator", "/station/st-1")
    await expect(page.locator(".empty")).to_have_text("There is no station “st-1”.")
    await gatehouse(console)
    await expect(device(page, "Barrier")).to_be_visible()
    await page.get_by_role("link", name="Back to the fleet").click()
    await expect(page.locator("hub-station")).to_have_count(0)


async def test_hub_restart(console: Console) -> None:
    """While the hub is away nothing can be asked; afterwards the page goes on by itself."""
    await gatehouse(console)
    page = await console.page("operator", "/station/st-1")
    await expect(device(page, "Barrier")).to_be_visible()
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await console.stop()
    await expect(page.get_by_role("button", name="Request status")).to_be_disabled()
    await expect(page.get_by_role("button", name="Open Barrier")).to_be_disabled()
    await console.start()
    await expect(page.get_by_role("button", name="Open Barrier")).to_be_enabled()
    temp = device(page, "Barrier").locator(".metric-value").first
    before = await temp.inner_text()
    await expect(temp).not_to_have_text(before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessible(console: Console, scheme: str) -> None:
    """axe-core finds nothing serious, the dialog and the form included; no text is wider than a telephone."""
    await enter(console, name="North", tags=["a"], cameras=[{"cameraId": "lane", "name": "Lane"}])
    await gatehouse(console)
    page = await console.page("operator", "/station/st-1", color_scheme=scheme, bypass_csp=True)
    await expect(await send_other(page, "break")).to_contain_text("jammed")
    assert await console.accessible(page) == []
    await page.get_by_role("button", name="Open Barrier").click()
    assert await console.accessible(page) == []
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 360, "height": 800})
    assert await page.evaluate("document.querySelector('main').scrollWidth") <= 360
    await console.picture(page, f"station-narrow-{scheme}")


async def test_chinese(console: Console) -> None:
    """The page in the other language has no word of the first."""
    await gatehouse(console)
    page = await console.page("operator", "/station/st-1", locale="zh-CN")
    await expect(page.get_by_role("button", name="请求状态")).to_be_enabled()
    text = await page.locator("hub-station").inner_text()
    assert not re.search("Request|Events|Devices|Commands|Since|Temperature", text)
