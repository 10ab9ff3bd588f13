/** How the hub is, live: the machine, the fleet, what passes, its broker. */
import { eachFrame, h, setText } from "../lib/dom.js";
import { bytes, clock, duration, number } from "../lib/format.js";
import { MEASURES } from "../core/monitor.js";
import { Sparkline } from "../parts/sparkline.js";
import { AdminPage } from "./admin-page.js";

const GROUPS = ["machine", "fleet", "traffic", "broker"];

export class AdminOverview extends AdminPage {
  constructor(app) {
    super(app, "");
  }

  make() {
    const { t } = this.app;
    const { monitor } = this.models;
    this.live = h("p", { class: "live small", role: "status" });
    this.facts = h("dl", { class: "facts" });
    this.fact = {};
    for (const name of ["broker", "uptime", "cores", "memory"]) {
      this.fact[name] = h("dd");
      this.facts.append(h("div", { class: "fact" }, h("dt", {}, t(`admin.fact.${name}`)), this.fact[name]));
    }
    const spark = ({ id, unit }) => {
      const [label, top] = [t(`admin.measure.${id}`), unit === "percent" ? 100 : null];
      return new Sparkline(this.app, { label, reports: monitor.reports, series: id, top, say: (value) => this.#say(unit, value) });
    };
    this.sparks = new Map(MEASURES.map((measure) => [measure.id, spark(measure)]));
    this.sections = new Map(GROUPS.map((group) => [group, this.#section(group)]));
    this.frame(this.live, this.facts, [...this.sections.values()]);
  }

  #section(group) {
    const title = this.app.t(`admin.group.${group}`);
    const sparks = MEASURES.filter((measure) => measure.group === group).map(({ id }) => this.sparks.get(id));
    return h("section", { class: "admin-group", "aria-label": title }, h("h2", {}, title), h("div", { class: "spark-grid" }, sparks));
  }

  shown() {
    super.shown();
    const draw = eachFrame(() => this.isConnected && this.#draw());
    this.until(this.models.monitor.on("change", draw));
    this.#draw();
    // lines that get no new values move on all the same
    const ticking = setInterval(draw, 2_000);
    this.until(() => clearInterval(ticking));
  }

  #say(unit, value) {
    const { language } = this.app.texts;
    if (unit === "percent") return `${number(language, value)} %`;
    if (unit === "bytes") return `${bytes(language, value)}/s`;
    return number(language, value, unit === "rate" && value < 10 ? 1 : 0) + (unit === "rate" ? "/s" : "");
  }

  #draw() {
    const { t, texts } = this.app;
    const { monitor } = this.models;
    const { update, live, heard } = monitor;
    this.live.dataset.live = String(live);
    setText(this.live, live ? t("admin.live") : update ? t("admin.stale", { time: clock(texts.language, this.app.time.there(heard)) }) : t("admin.waiting"));
    this.facts.hidden = !update;
    this.sections.get("broker").hidden = Boolean(update) && !update.broker;
    if (update) this.#drawFacts(update, texts.language);
    const known = update && update.stations ? t("admin.of-known", { n: number(texts.language, update.stations.known) }) : "";
    for (const [id, spark] of this.sparks) spark.update(id === "online" ? known : "");
  }

  #drawFacts({ stats, mqtt }, language) {
    const { t } = this.app;
    const { fact } = this;
    fact.broker.className = "state";
    fact.broker.dataset.state = mqtt.connected ? "online" : "error";
    setText(fact.broker, t(mqtt.connected ? "admin.broker.connected" : "admin.broker.lost"));
    setText(fact.uptime, duration(language, stats.uptime * 1000));
    setText(fact.cores, number(language, stats.cpu.cores));
    setText(fact.memory, t("admin.memory", { used: bytes(language, stats.memory.used), total: bytes(language, stats.memory.total) }));
  }
}
customElements.define("hub-admin", AdminOverview);
