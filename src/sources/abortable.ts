/**
 * Runs `ask` unless the signal is aborted already, and waits for it no longer than the signal allows: rejects
 * with the signal's reason. What was asked goes on by itself; its late failure is nobody's.
 */
export async function abortable<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
  if (signal === undefined) return ask();
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([ask(), aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
