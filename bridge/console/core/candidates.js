/** What tells the candidates of several connections apart: the user name fragment of the description that they belong to. */

/** The `a=ice-ufrag` of a session description; null: it has none. */
export function fragmentOf(sdp) {
  return /^a=ice-ufrag:(\S+)/m.exec(sdp ?? "")?.[1] ?? null;
}

/** The user name fragment that a candidate is of; null: it does not say. */
export function candidateFragment(candidate) {
  const { usernameFragment, candidate: line } = candidate ?? {};
  if (typeof usernameFragment === "string" && usernameFragment) return usernameFragment;
  return (typeof line === "string" && / ufrag (\S+)/.exec(line)?.[1]) || null;
}
