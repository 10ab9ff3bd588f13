/** The camera and the microphone of this browser, as far as it gives them. */

/**
 * Why there is no camera or microphone, as keys of the texts after `media.`:
 * `insecure` (the page came without HTTPS, so that the browser hides them), `denied`, `missing`, `busy`, `failed`.
 */
function problemOf(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "failed";
  }
}

/**
 * Opens the camera and the microphone; without a camera the microphone alone; without that neither. Never fails.
 * @param {MediaDevices | undefined} devices `navigator.mediaDevices`: not there where the page is not secure.
 * @param {{video?: any, audio?: any}} [wanted] constraints.
 * @returns {Promise<{stream: MediaStream | null, problem: string | null}>} `problem`: of what is missing, see `problemOf`.
 */
export async function openMedia(devices, { video = true, audio = true } = {}) {
  if (!devices?.getUserMedia) return { stream: null, problem: "insecure" };
  let problem = null;
  for (const constraints of tries(video, audio)) {
    try {
      return { stream: await devices.getUserMedia(constraints), problem };
    } catch (error) {
      problem ??= problemOf(error);
    }
  }
  return { stream: null, problem };
}

function tries(video, audio) {
  const all = [{ video, audio }, { video: false, audio }, { video, audio: false }];
  return all.filter((one, at) => (one.video || one.audio) && all.findIndex((other) => Boolean(other.video) === Boolean(one.video) && Boolean(other.audio) === Boolean(one.audio)) === at);
}

/** Ends all tracks of a stream; null is none. */
export function stopMedia(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
