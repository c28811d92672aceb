import { OptionError } from "../base/errors.ts";
import type { Position } from "../coherence/log.ts";
import type { Core } from "./core.ts";

/** How long `after` waits for the follower before the read goes past memory, in milliseconds. */
const AFTER_WAIT = 250;

/** From which position on a read must see changes, and whether memory may answer it. */
export interface Reach {
  readonly position: Position;
  readonly beyondMemory: boolean;
}
const NOWHERE: Reach = { position: 0, beyondMemory: false };
/** Past memory, past everything under way, and past the stores: whether a tag or a pattern concerns what they hold
 *  is not known here before the log told. The source alone is sure. */
const BEYOND: Reach = { position: Number.POSITIVE_INFINITY, beyondMemory: true };

/** Read-your-writes (P4): waits until the follower has seen `after`, else the read goes past memory. */
export function reach(
  core: Core,
  options: { readonly after?: string | undefined } | undefined,
): Reach | Promise<Reach> {
  const after = options?.after;
  if (after === undefined || after === "") return NOWHERE;
  const split = typeof after === "string" ? after.lastIndexOf(":") : -1;
  const position = split > 0 ? Number(after.slice(split + 1)) : Number.NaN;
  if (!Number.isSafeInteger(position) || position < 0)
    throw new OptionError("after", after, "a position that a mutation of this cache returned");
  const known = core.invalidations;
  const reached = (): boolean =>
    core.following.ready === undefined && known.knows(after.slice(0, split)) && known.position >= position;
  if (reached()) return { position, beyondMemory: false };
  return waitFor(core, reached).then((seen) => (seen ? { position, beyondMemory: false } : BEYOND));
}

async function waitFor(core: Core, reached: () => boolean): Promise<boolean> {
  const until = core.clock.now() + AFTER_WAIT;
  for (let pause = 2; ; pause = Math.min(pause * 2, 32)) {
    await core.following.whenReady();
    try {
      await core.log.catchUp();
    } catch {
      return false; // the log does not answer: its health says so
    }
    if (reached()) return true;
    if (core.clock.now() >= until) return false;
    await core.sleep(pause);
  }
}
