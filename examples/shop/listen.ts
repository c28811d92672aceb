import type { Server } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import { SettingError } from "./settings.ts";

/** A service that listens. */
export interface Listening {
  readonly address: string;
  readonly port: number;
  /** Set when another port than the usual one had to be taken. */
  readonly note: string | undefined;
  /** Lets requests under way end, for at most 5 seconds. */
  close(): Promise<void>;
}

/** Tried when no port is asked for. */
export const USUAL_PORT = 3_000;
/** Milliseconds that requests under way get at the end. */
const CLOSING = 5_000;

/**
 * Listens on `port`, or without one on the usual port or, when that is taken, on a free one.
 * @throws {SettingError} when the port asked for is taken, or the host is not of this machine.
 */
export async function listen(
  app: { fetch: (request: Request) => Response | Promise<Response> },
  host: string,
  port: number | undefined,
  usual: number = USUAL_PORT,
): Promise<Listening> {
  let note: string | undefined;
  let server: Server;
  try {
    server = await open(app, host, port ?? usual);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EADDRINUSE" || port !== undefined)
      throw new SettingError(
        `Cannot listen on ${host}:${port ?? usual}: ${error instanceof Error ? error.message : error}. ` +
          "Set PORT or HOST to others (PORT=0: any free one).",
      );
    server = await open(app, host, 0);
    note = `Port ${usual} is taken: took a free one (PORT chooses another).`;
  }
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("The server listens on no port.");
  const name = host.includes(":") ? `[${host}]` : host === "0.0.0.0" ? "127.0.0.1" : host;
  return {
    address: `http://${name}:${bound.port}`,
    port: bound.port,
    note,
    close: () =>
      new Promise((done) => {
        const deadline = setTimeout(() => server.closeAllConnections(), CLOSING);
        server.close(() => {
          clearTimeout(deadline);
          done();
        });
        server.closeIdleConnections();
      }),
  };
}

function open(app: Parameters<typeof listen>[0], host: string, port: number): Promise<Server> {
  return new Promise((done, fail) => {
    // Without options for HTTP/2 or TLS this is a plain HTTP server.
    const server = createAdaptorServer({ fetch: app.fetch }) as Server;
    server.once("error", fail);
    server.listen(port, host, () => {
      server.off("error", fail);
      done(server);
    });
  });
}
