// Ends what a test run leaves behind that could not do it itself, because it was killed.
import { spawn } from "node:child_process";
import { Socket } from "node:net";

/**
 * Reads what is started and ended, a line each, until the test run is gone and with it the pipe. Then it kills the
 * servers that still run, frozen ones too, and removes the folders. Those that ended are forgotten, since the
 * system may give their process ids to others.
 */
const SCRIPT = `
pids=' '
while read -r event subject; do
  case $event in
    started) pids="$pids$subject " ;;
    ended) pids="\${pids%% $subject *} \${pids#* $subject }" ;;
    folder) set -- "$@" "$subject" ;;
  esac
done
for pid in $pids; do kill -9 "$pid"; done
# A process that is dying may still be writing its last file.
rm -rf -- "$@" || { sleep 1; rm -rf -- "$@"; }
`;

let pipe: NodeJS.WritableStream | undefined;

/** Tells the reaper, which is started with the first word to it. */
export function tellReaper(event: "started" | "ended" | "folder", subject: string | number): void {
  pipe ??= startReaper();
  pipe.write(`${event} ${subject}\n`);
}

function startReaper(): NodeJS.WritableStream {
  // In a process group of its own: Ctrl-C ends the test run and not this.
  const child = spawn("sh", ["-c", SCRIPT], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  child.unref();
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child.stdin;
}
