/** The title of the window: what page it is, first. */
export function setTitle(text) {
  const title = `${text} · StationHub`;
  if (document.title !== title) document.title = title;
}
