"""Stations call, operators answer: ringing on every page, and one call with picture and sound both ways."""

import asyncio
import re

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from devices.camera import Cameras
from devices.station import Job, Station
from tests.e2e.console.calling import accept, call, edge, no_camera, plays, rings
from tests.e2e.console.conftest import Console
from tests.e2e.waiting import GUARD, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


BLOCKED = """
let clicked = false;
addEventListener("click", () => (clicked = true), true);
let allowed = false;
Object.defineProperty(AudioContext.prototype, "state", { get: () => (allowed ? "running" : "suspended") });
AudioContext.prototype.resume = async () => void (allowed = clicked);
"""
"""A browser that nobody clicked in yet, as most are when the first call comes."""


async def in_call(operator: Page, station: Page) -> None:
    """Both see each other."""
    await plays(operator.locator(".call-remote video"))
    await plays(station.locator(".call-remote video"))


async def talking(console: Console) -> tuple[Page, Page]:
    """An operator and an edge page that called, in their call."""
    operator, station = await console.page("operator"), await edge(console)
    await call(station)
    await accept(operator)
    await in_call(operator, station)
    return operator, station


async def test_call_with_video_both_ways(console: Console) -> None:
    """A call rings on two consoles; one accepts, the other is silent; both sides see each other, until the operator hangs up."""
    one, other = await console.page("operator"), await console.page("operator", "/calls")
    station = await edge(console)
    await call(station)
    for page in (one, other):
        await expect(rings(page)).to_have_count(1)
        await expect(page.locator("hub-call-banner")).to_have_attribute("data-sound", "on")
    await console.picture(one, "calls-ringing")
    await accept(one)
    await expect(rings(other)).to_have_count(0)
    await expect(other.locator(".call-outcome")).to_have_text("Answered by somebody else")
    await in_call(one, station)
    await expect(one.locator(".call-view")).to_have_attribute("data-size", "large")
    await console.picture(one, "calls-talking")
    await console.picture(station, "edge-talking")
    await one.get_by_role("button", name="Hang up").click()
    await expect(station.locator(".call-words")).to_have_text("Control centre ended the call.")
    await expect(one.locator(".call-view")).to_be_hidden()
    await expect(station.locator(".edge-talk")).to_be_hidden()
    await expect(station.locator(".edge-call")).to_be_enabled()


async def test_the_station_hangs_up(console: Console) -> None:
    """The call ends at the console, which says so and offers to call again; called again, the station comes by itself."""
    operator, station = await talking(console)
    await station.get_by_role("button", name="Hang up").click()
    await expect(operator.locator(".call-words")).to_have_text("st-1 ended the call.")
    await expect(station.locator(".edge-talk")).to_be_hidden()
    await console.picture(operator, "calls-ended")
    await operator.get_by_role("button", name="Call again").click()
    await in_call(operator, station)
    # nothing of the first call is left
    assert await operator.locator(".call-remote video").count() == 1
    assert await station.locator(".call-remote video").count() == 1


async def test_a_small_call_stays_on_other_pages(console: Console) -> None:
    """Whoever goes elsewhere in a call keeps it in a corner; a change of language does not end it; its end closes it."""
    operator, station = await talking(console)
    await operator.evaluate("location.hash = '#/'")
    await expect(operator.locator(".call-view")).to_have_attribute("data-size", "small")
    await operator.get_by_label("Language").select_option("zh")
    await expect(operator.get_by_role("button", name="挂断")).to_be_visible()
    await in_call(operator, station)
    await console.picture(operator, "calls-small-zh")
    await operator.get_by_role("button", name="挂断").click()
    await expect(station.locator(".call-words")).to_contain_text("ended the call")
    await expect(operator.locator(".call-view")).to_be_hidden()


async def test_microphone_and_camera_go_off(console: Console) -> None:
    """Muted and hidden, the other side gets silence and black; and both come back."""
    operator, station = await talking(console)
    await operator.get_by_role("button", name="Mute").click()
    await operator.get_by_role("button", name="Camera off").click()
    await expect(operator.locator(".call-own")).to_be_hidden()
    await expect(operator.get_by_role("button", name="Unmute")).to_be_visible()
    black = """video => new Promise(done => { const canvas = document.createElement('canvas'); canvas.width = canvas.height = 8;
      const pen = canvas.getContext('2d', { willReadFrequently: true }); const look = () => { pen.drawImage(video, 0, 0, 8, 8);
      const light = Math.max(...pen.getImageData(0, 0, 8, 8).data.filter((_, at) => at % 4 < 3));
      if (light < 30) done(true); else requestAnimationFrame(look) }; look() })"""
    assert await station.locator(".call-remote video").evaluate(black)
    await operator.get_by_role("button", name="Camera on").click()
    await in_call(operator, station)


async def test_several_calls_and_only_one_at_a_time(console: Console) -> None:
    """Each station rings in a row of its own; to accept a second one, the first call ends, which is asked first."""
    operator = await console.page("operator")
    first, second, third = [await edge(console, f"st-{number}") for number in (1, 2, 3)]
    for station in (first, second, third):
        await call(station)
    await expect(rings(operator)).to_have_count(3)
    await expect(operator.locator(".call-rows .call-name")).to_have_text(["st-1", "st-2", "st-3"])
    await console.picture(operator, "calls-queue")
    await accept(operator)
    await in_call(operator, first)
    await operator.get_by_role("button", name="Accept the call of st-2").click()
    dialog = operator.locator("dialog")
    await expect(dialog).to_contain_text("You are speaking with st-1.")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(rings(operator)).to_have_count(2)
    await in_call(operator, first)
    await operator.get_by_role("button", name="Accept the call of st-2").click()
    await dialog.get_by_role("button", name="End it and answer").click()
    await expect(first.locator(".call-words")).to_contain_text("ended the call")
    await in_call(operator, second)
    await expect(rings(operator)).to_have_count(1)
    await expect(operator.locator(".call-head .call-name")).to_have_text("st-2")


async def absent(console: Console, station_id: str) -> Station:
    """A station that calls, and comes to no call."""
    station = console.station(station_id)

    @station.on("join-room")
    async def join(_job: Job) -> None: ...

    await console.connect(station)
    await station.call_center()
    return station


async def test_a_question_that_is_void(console: Console) -> None:
    """Whether one call may end for another is asked, in words that are so, as long as there are both; then why not."""
    operator = await console.page("operator")
    first, second = [await absent(console, f"st-{number}") for number in (1, 2)]
    await expect(rings(operator)).to_have_count(2)
    await accept(operator)
    await expect(operator.locator(".call-words")).to_have_text("Calling st-1…")
    await operator.get_by_role("button", name="Accept the call of st-2").click()
    dialog, notice = operator.locator("dialog"), operator.locator(".notice")
    await expect(dialog).to_contain_text("You are calling st-1. To speak with st-2, that call ends.")
    await second.close()
    await expect(dialog).to_have_count(0)
    await expect(notice).to_have_text(["st-2 is not calling any more: Missed: the station disconnected"])
    await expect(operator.locator(".call-words")).to_have_text("Calling st-1…")
    third = await absent(console, "st-3")
    await operator.get_by_role("button", name="Accept the call of st-3").click()
    await expect(dialog).to_contain_text("st-3")
    await first.close()
    await expect(dialog).to_have_count(0)
    await expect(notice.last).to_have_text("The call with st-1 has ended.")
    await expect(rings(operator)).to_have_count(1)
    await third.close()


async def test_decline_leaves_the_call_to_others(console: Console) -> None:
    """Declined, it is silent here and rings there; answered there, the list here says so."""
    one, other = await console.page("operator", "/calls"), await console.page("operator")
    station = await edge(console)
    await call(station)
    await expect(rings(one)).to_have_count(1)
    await one.get_by_role("button", name="Decline the call of st-1").click()
    await expect(rings(one)).to_have_count(0)
    await expect(one.locator(".call-outcome")).to_have_text("Declined by you")
    assert "📞" not in await one.title()
    await expect(rings(other)).to_have_count(1)
    await accept(other)
    await in_call(other, station)
    await expect(one.locator(".call-outcome")).to_have_text("Answered by somebody else")


async def test_missed_when_the_station_goes(console: Console) -> None:
    """Who calls and goes away was missed: counted in the navigation until somebody looks, and called back when it is there."""
    operator = await console.page("operator")
    station = await edge(console)
    await call(station)
    await expect(rings(operator)).to_have_count(1)
    await expect(operator).to_have_title(re.compile("^📞"))
    await station.get_by_role("button", name="Leave").click()
    await expect(rings(operator)).to_have_count(0)
    await expect(operator).to_have_title("Fleet · StationHub")
    await expect(operator.locator("hub-call-count")).to_have_text("1")
    await operator.get_by_role("link", name="Calls").click()
    await expect(operator.locator(".call-outcome")).to_have_text("Missed: the station disconnected")
    await expect(operator.locator("hub-call-count")).to_be_hidden()
    back = operator.get_by_role("button", name="Call st-1 back")
    await expect(back).to_be_disabled()
    await console.picture(operator, "calls-missed")
    station = await edge(console)
    await back.click()
    await in_call(operator, station)


async def test_missed_when_nobody_answers(console: Console) -> None:
    """A minute later it rings no more, is counted as missed, and may be called back."""
    context = await console.context()
    await context.clock.install()
    operator = await console.page("operator", context=context)
    station = await edge(console)
    await call(station)
    await expect(rings(operator)).to_have_count(1)
    await operator.clock.fast_forward(61_000)
    await expect(rings(operator)).to_have_count(0)
    await expect(operator.locator("hub-call-count")).to_have_text("1")
    await operator.get_by_role("link", name="Calls").click()
    await expect(operator.locator(".call-outcome")).to_have_text("Missed")
    await operator.get_by_role("button", name="Call st-1 back").click()
    await in_call(operator, station)


async def test_viewer(console: Console) -> None:
    """A viewer sees that a station calls, and why he cannot answer."""
    viewer, station = await console.page("viewer"), await edge(console)
    await call(station)
    await expect(rings(viewer)).to_have_count(1)
    banner = viewer.locator("hub-call-banner")
    await expect(banner).to_contain_text("your role cannot")
    await expect(banner.get_by_role("button", name="Accept")).to_have_count(0)
    await console.picture(viewer, "calls-viewer")
    await viewer.evaluate("location.hash = '#/calls'")
    await expect(viewer.locator(".calls-table button")).to_be_disabled()


async def test_a_page_that_comes_later_rings_too(console: Console) -> None:
    """A call that is open rings on a page that is loaded while it waits."""
    station = await edge(console)
    await call(station)
    operator = await console.page("operator")
    await expect(rings(operator)).to_have_count(1)
    await operator.reload()
    await expect(rings(operator)).to_have_count(1)


async def test_by_keyboard_alone(console: Console) -> None:
    """Ringing takes no focus from who types; Alt+C moves to the call and back; Enter answers."""
    operator, station = await console.page("operator"), await edge(console)
    search = operator.get_by_role("searchbox").first
    await search.click()
    await call(station)
    await expect(rings(operator)).to_have_count(1)
    await operator.keyboard.type("north")
    await expect(search).to_have_value("north")
    await operator.keyboard.press("Alt+c")
    await expect(operator.locator(".call-row button.good")).to_be_focused()
    await operator.keyboard.press("Escape")
    await expect(search).to_be_focused()
    await operator.keyboard.press("Alt+c")
    await operator.keyboard.press("Enter")
    await in_call(operator, station)


async def test_a_page_that_is_opened_while_it_rings(console: Console) -> None:
    """What this browser declined rings in no tab of it any more; the rest is told by name, and has rung as long as it has."""
    admin = console.hub.tokens.mint_user("root", role="admin")
    async with httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {admin}"}) as http:
        assert (await http.post("/stations", json={"stationId": "st-2", "name": "North gate"})).status_code == 201
    operator = await console.page("operator")
    second = await console.page(None, context=operator.context)
    for number in (1, 2):
        await absent(console, f"st-{number}")
    await expect(rings(second)).to_have_count(2)
    await expect(operator.locator(".call-row").nth(1)).to_contain_text("2 sec")
    await operator.get_by_role("button", name="Decline the call of st-1").click()
    await expect(rings(second)).to_have_count(1)
    await operator.context.add_init_script("const now = Date.now; Date.now = () => now() + 7_200_000")
    heard = asyncio.Event()

    async def later(route: Route) -> None:  # the list of names comes after the calls
        await heard.wait()
        await route.continue_()

    await second.route("**/stations?*", later)
    await second.reload()
    await expect(rings(second)).to_have_count(1)
    heard.set()
    await expect(second.locator("hub-call-banner [role=alert]")).to_have_text(
        "Incoming call from North gate. Alt+C moves here."
    )
    await expect(second.locator(".call-row")).to_contain_text(re.compile(r"(?<!\d)([2-9]|[1-5]\d) sec"))
    await second.evaluate("location.hash = '#/calls'")
    await expect(second.locator(".call-outcome")).to_have_text(["Ringing", "Declined by you"])


async def test_silence_is_kept(console: Console) -> None:
    """Silenced, calls are seen and not heard, after a reload too."""
    operator, station = await console.page("operator"), await edge(console)
    await call(station)
    banner = operator.locator("hub-call-banner")
    await expect(banner).to_have_attribute("data-sound", "on")
    await banner.get_by_role("button", name="Silence").click()
    await expect(banner).to_have_attribute("data-sound", "muted")
    await operator.reload()
    await expect(banner).to_have_attribute("data-sound", "muted")
    await expect(rings(operator)).to_have_count(1)


@pytest.mark.parametrize(("error", "said"), [("NotAllowedError", "not allowed"), ("NotFoundError", "no camera")])
async def test_an_operator_without_camera(console: Console, error: str, said: str) -> None:
    """Without camera and microphone an operator sees and hears, and reads why he is not seen."""
    operator, station = await console.page("operator"), await edge(console)
    await operator.evaluate(no_camera(error))
    await call(station)
    await accept(operator)
    await plays(operator.locator(".call-remote video"))
    await expect(operator.locator(".call-problem")).to_contain_text(said)
    await expect(operator.locator(".call-problem")).to_contain_text("neither seen nor heard")
    await expect(station.locator(".call-words")).to_have_text("The other side sends no picture.")


async def test_a_station_on_mqtt(console: Console) -> None:
    """A station without a browser calls, answers with its camera, and is hung up on."""
    station = console.station()
    async with Cameras.attach(station) as cameras:
        await console.connect(station)
        operator = await console.page("operator")
        await station.call_center()
        await accept(operator)
        await plays(operator.locator(".call-remote video"))
        await operator.get_by_role("button", name="Hang up").click()
        await until(lambda: cameras.viewers == 0)


async def test_nobody_comes(console: Console) -> None:
    """A station that goes away before it came to the call: that is told, and called again, that it is offline."""
    station, invited = console.station(), asyncio.Event()

    @station.on("join-room")
    async def join(_job: Job) -> None:
        invited.set()

    await console.connect(station)
    operator = await console.page("operator")
    await station.call_center()
    await accept(operator)
    await expect(operator.locator(".call-words")).to_have_text("Calling st-1…")
    async with asyncio.timeout(GUARD):
        await invited.wait()
    await station.close()
    await expect(operator.locator(".call-words")).to_have_text("Nobody came to the call at st-1.")
    await operator.get_by_role("button", name="Call again").click()
    await expect(operator.locator(".call-words")).to_have_text("The call could not be made: The station is offline.")
    await operator.get_by_role("button", name="Close").click()
    await expect(operator.locator(".call-view")).to_be_hidden()


async def test_the_hub_goes_in_a_call(console: Console) -> None:
    """Picture and sound go on while the hub is away and after; both sides say what is lost; the station is called again."""
    operator, station = await talking(console)
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await console.stop()
    await expect(operator.locator(".call-words")).to_contain_text("The connection to the hub was lost")
    await in_call(operator, station)
    await console.start()
    await expect(operator.locator(".connection")).to_have_text("Connected")
    await expect(station.locator(".edge-talk")).to_contain_text("The connection to the hub was lost")
    await in_call(operator, station)
    await console.picture(operator, "calls-hub-away")
    await expect(station.locator("header .state")).to_have_text("In service")
    await operator.get_by_role("button", name="Call again").click()
    await expect(operator.locator(".call-words")).to_have_text("")
    await in_call(operator, station)
    await expect(operator.locator("hub-call-view")).to_have_attribute("data-size", "large")


async def test_hanging_up_while_the_hub_is_away(console: Console) -> None:
    """The other side knows it at once, from the connection between the two, and can call again when the hub is back."""
    operator, station = await talking(console)
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await console.stop()
    await expect(station.locator(".call-words")).to_contain_text("The connection to the hub was lost")
    await operator.get_by_role("button", name="Hang up").click()
    # an interrupted connection is given 8 s to come back, after the 7 s in which it is noticed
    await expect(station.locator(".call-words")).to_have_text("Control centre ended the call.", timeout=5_000)
    await console.start()
    await call(station)
    await expect(rings(operator)).to_have_count(1)


async def test_only_the_operators_socket_breaks(console: Console) -> None:
    """The hub tells the station that the operator is gone; as he is still seen, the call goes on."""
    operator, station = await talking(console)
    peer = next(peer for peer in console.hub.gateway.peers.values() if peer.identity.role == "operator")
    peer.close(1012, "")
    await expect(station.locator(".call-words")).to_contain_text("The connection to the hub was lost")
    await in_call(operator, station)
    await operator.get_by_role("button", name="Hang up").click()
    await expect(station.locator(".call-words")).to_have_text("Control centre ended the call.")


async def test_sound_that_the_browser_blocks(console: Console) -> None:
    """Where a browser plays no sound before a click, the banner says so, and a button turns it on."""
    context = await console.context()
    await context.add_init_script(BLOCKED)
    operator, station = await console.page("operator", context=context), await edge(console)
    await call(station)
    banner = operator.locator("hub-call-banner")
    await expect(banner).to_have_attribute("data-sound", "blocked")
    await banner.get_by_role("button", name="Turn sound on").click()
    await expect(banner).to_have_attribute("data-sound", "on")


async def test_markup_is_text(console: Console) -> None:
    """What a station calls itself is text, wherever a call shows it."""
    name = "<img src=x onerror=alert(1)>"
    admin = console.hub.tokens.mint_user("root", role="admin")
    async with httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {admin}"}) as http:
        assert (await http.post("/stations", json={"stationId": "st-1", "name": name})).status_code == 201
    operator, station = await console.page("operator"), await edge(console)
    await call(station)
    await expect(operator.locator(".call-rows .call-name")).to_have_text(name)
    await accept(operator)
    await expect(operator.locator(".call-head .call-name")).to_have_text(name)
    await in_call(operator, station)
    await operator.evaluate("location.hash = '#/calls'")
    await expect(operator.locator(".calls-table a")).to_have_text(name)
    assert await operator.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessible(console: Console, scheme: str) -> None:
    """axe-core finds nothing serious while it rings, in a call, and in the list; nothing is wider than a telephone."""
    operator = await console.page("operator", color_scheme=scheme, bypass_csp=True)
    first, second = await edge(console), await edge(console, "st-2")
    for station in (first, second):
        await call(station)
    await expect(rings(operator)).to_have_count(2)
    assert await console.accessible(operator) == []
    await operator.evaluate("location.hash = '#/calls'")
    await expect(operator.locator(".calls-table")).to_be_visible()
    assert await console.accessible(operator) == []
    await console.picture(operator, f"calls-list-{scheme}")
    await accept(operator)
    await in_call(operator, first)
    assert await console.accessible(operator) == []
    await console.picture(operator, f"calls-talking-{scheme}")
    await operator.set_viewport_size({"width": 360, "height": 740})
    for address in ("/calls", "/call", "/"):
        await operator.evaluate("at => { location.hash = at }", address)
        wide = await operator.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, address
        await console.picture(operator, f"calls-narrow-{scheme}{address.replace('/', '-')}")


async def test_two_accept_at_once(console: Console) -> None:
    """Whose camera opens later reads that somebody else answered; the station speaks with the other."""
    slow, quick = await console.page("operator"), await console.page("operator")
    station = await edge(console)
    await slow.evaluate("void (navigator.mediaDevices.getUserMedia = () => new Promise(() => {}))")
    await call(station)
    await accept(slow)
    await expect(slow.locator(".call-words")).to_have_text("Opening camera and microphone…")
    await accept(quick)
    await expect(slow.locator(".call-words")).to_have_text("Somebody else has answered st-1 already.")
    await in_call(quick, station)
    await slow.get_by_role("button", name="Close").click()
    await expect(slow.locator(".call-view")).to_be_hidden()


async def test_called_from_its_page(console: Console) -> None:
    """An operator calls a station that did not call: it comes by itself; hung up, the operator is on its page again."""
    station, operator = await edge(console), await console.page("operator", "/station/st-1")
    await operator.get_by_role("button", name="Call", exact=False).first.click()
    await in_call(operator, station)
    await operator.get_by_role("button", name="Hang up").click()
    await expect(operator.locator(".station-page")).to_be_visible()
    assert operator.url.endswith("#/station/st-1")


async def test_signing_out_hangs_up(console: Console) -> None:
    """Whoever signs out, or closes the page, is not seen any more."""
    for ends in ("signs out", "closes"):
        operator, station = await console.page("operator"), await edge(console, f"st-{len(ends)}")
        await call(station)
        await accept(operator)
        await in_call(operator, station)
        if ends == "closes":
            await operator.close(run_before_unload=False)
        else:
            await operator.get_by_role("button", name="Sign out").click()
        await expect(station.locator(".call-words")).to_have_text("Control centre ended the call.")
