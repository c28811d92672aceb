type Listener = (...args: unknown[]) => void;

interface Emitter {
  on(event: string, listener: Listener): unknown;
}

const hubs = new WeakMap<Emitter, Map<string, Set<Listener>>>();

/**
 * Listens to a client of the program's own: one listener an event, however many caches share the client, so that
 * Node does not suspect a leak. Answers how to stop.
 */
export function listen(client: Emitter, event: string, listener: Listener): () => void {
  const hub = hubs.get(client) ?? new Map<string, Set<Listener>>();
  hubs.set(client, hub);
  const listeners = hub.get(event) ?? new Set<Listener>();
  if (!hub.has(event)) {
    hub.set(event, listeners);
    client.on(event, (...args) => {
      for (const tell of [...listeners]) tell(...args);
    });
  }
  listeners.add(listener);
  return () => listeners.delete(listener);
}
