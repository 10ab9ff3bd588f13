/** Which page an address is for: the table of all pages of the console. */
import { AdminOverview } from "./admin.js";
import { AdminAudit } from "./admin-audit.js";
import { AdminRooms } from "./admin-rooms.js";
import { AdminStations } from "./admin-stations.js";
import { AdminUsers } from "./admin-users.js";
import { CallCount } from "../parts/call-count.js";
import { CallPage } from "./call.js";
import { CallsPage } from "./calls.js";
import { WallPage } from "./wall.js";
import { StationPage } from "./station.js";

/**
 * One page.
 *
 * `path`: the address after `#/`, with `:names`; `role`: the least that may see it; `link`: the entry of the navigation that it belongs to,
 * `nav`: the text of its own entry, `badge`: the element beside that.
 */
const ROUTES = [
  { name: "wall", path: "", page: WallPage, link: "", nav: "nav.fleet", title: "nav.fleet" },
  { name: "station", path: "station/:id", page: StationPage, link: "", title: "nav.fleet" },
  { name: "calls", path: "calls", page: CallsPage, link: "calls", nav: "nav.calls", badge: CallCount, title: "nav.calls" },
  { name: "call", path: "call", page: CallPage, link: "calls", title: "nav.calls" },
  { name: "admin", path: "admin", page: AdminOverview, role: "admin", link: "admin", nav: "nav.admin", title: "nav.admin" },
  { name: "admin-stations", path: "admin/stations", page: AdminStations, role: "admin", link: "admin", title: "nav.admin" },
  { name: "admin-users", path: "admin/users", page: AdminUsers, role: "admin", link: "admin", title: "nav.admin" },
  { name: "admin-rooms", path: "admin/rooms", page: AdminRooms, role: "admin", link: "admin", title: "nav.admin" },
  { name: "admin-audit", path: "admin/audit", page: AdminAudit, role: "admin", link: "admin", title: "nav.admin" },
];

/** The page for `location.hash`; one that is not there, or not for this role, is the first of the table. */
export function resolve(hash, app) {
  const allowed = ROUTES.filter((route) => !route.role || app.may(route.role));
  const links = allowed.filter((route) => route.nav).map(({ path, nav, badge }) => ({ path, text: nav, badge }));
  const parts = hash.replace(/^#\/?/, "").split("?")[0].split("/");
  for (const route of allowed) {
    const params = match(route.path.split("/"), parts);
    if (params) return { route, page: route.page, params, links };
  }
  return { route: allowed[0], page: allowed[0].page, params: {}, links };
}

function match(pattern, parts) {
  if (pattern.length !== parts.length) return null;
  const params = {};
  for (const [at, piece] of pattern.entries()) {
    if (!piece.startsWith(":")) {
      if (piece !== parts[at]) return null;
      continue;
    }
    try {
      params[piece.slice(1)] = decodeURIComponent(parts[at]);
    } catch {
      return null; // somebody typed a stray %
    }
  }
  return params;
}
