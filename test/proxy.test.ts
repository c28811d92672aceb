import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startProxy, type TcpProxy } from "./proxy.ts";

/** The server behind the proxy: it answers every chunk with the same bytes and keeps what it heard. */
let server: Server;
let heard: string[];
let serverSockets: Socket[];
let proxy: TcpProxy;
let clients: Socket[];

beforeEach(async () => {
  heard = [];
  serverSockets = [];
  clients = [];
  server = createServer((socket) => {
    serverSockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      heard.push(String(chunk));
      server.emit("heard");
      socket.write(chunk);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port.");
  proxy = await startProxy(address.port, { seed: 7 });
});

afterEach(async () => {
  await proxy.stop();
  for (const socket of [...clients, ...serverSockets]) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

async function client(): Promise<Socket> {
  const socket = connect(proxy.port, "127.0.0.1");
  clients.push(socket);
  socket.setEncoding("utf8");
  await once(socket, "connect");
  socket.on("error", () => {});
  return socket;
}

/** Collects what a socket hears until it has heard so many characters. */
function received(socket: Socket, length: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const more = (chunk: string) => {
      text += chunk;
      if (text.length < length) return;
      socket.off("data", more);
      resolve(text);
    };
    socket.on("data", more);
    socket.once("close", () => reject(new Error(`closed after ${text.length} of ${length} characters`)));
  });
}

/** Unlike `once` of Node, not concerned with how it comes to the close. */
function closing(socket: Socket | undefined): Promise<void> {
  if (socket === undefined) throw new Error("There is no such socket.");
  return new Promise((resolve) => (socket.closed ? resolve() : socket.once("close", () => resolve())));
}

async function echo(socket: Socket, text: string): Promise<string> {
  const answer = received(socket, text.length);
  socket.write(text);
  return answer;
}

/** Resolves with whether the socket has ended, and how, once the proxy and the server did all they had to do. */
async function settled(socket: Socket): Promise<"open" | "ended" | "reset"> {
  // Another connection past the proxy is answered after everything that was under way on this machine.
  for (let round = 0; round < 20; round++) await new Promise((resolve) => setImmediate(resolve));
  if (!socket.destroyed) return socket.readableEnded ? "ended" : "open";
  return socket.errored === null ? "ended" : "reset";
}

describe("a proxy without faults", () => {
  test("carries bytes both ways, many and in order", async () => {
    const text = Array.from({ length: 400_000 }, (_, index) => `${index} `).join("");
    const socket = await client();
    expect(await echo(socket, text)).toBe(text);
  });

  test("tells the server when the client hangs up, and the other way round", async () => {
    const first = await client();
    await echo(first, "hello");
    first.end();
    await closing(first);
    const second = await client();
    await echo(second, "hello");
    serverSockets[1]?.end();
    await once(second, "end");
  });

  test("delivers what was sent before the hang-up", async () => {
    proxy.delay(20);
    const socket = await client();
    const answer = received(socket, 3);
    socket.end("bye");
    expect(await answer).toBe("bye");
  });

  test("resets the client when the server resets its side, or is not there", async () => {
    const socket = await client();
    await echo(socket, "hello");
    const broken = closing(socket);
    serverSockets[0]?.resetAndDestroy();
    await broken;
    expect(await settled(socket)).toBe("reset");
    await new Promise((resolve) => server.close(resolve));
    const refused = await client();
    await closing(refused);
  });

  test("counts its connections", async () => {
    const first = await client();
    const second = await client();
    await Promise.all([echo(first, "a"), echo(second, "b")]);
    expect([proxy.connections, proxy.accepted]).toEqual([2, 2]);
    first.end();
    await closing(first);
    await expect.poll(() => proxy.connections).toBe(1);
    expect(proxy.accepted).toBe(2);
  });
});

describe("delay", () => {
  test("makes bytes late in each direction, on connections there are already", async () => {
    const socket = await client();
    await echo(socket, "quick");
    proxy.delay(40);
    const start = performance.now();
    await echo(socket, "slow");
    expect(performance.now() - start).toBeGreaterThanOrEqual(79);
    await proxy.heal();
    const again = performance.now();
    await echo(socket, "quick");
    expect(performance.now() - again).toBeLessThan(40);
  });

  test("keeps the order whatever the jitter is, also when it ends in between", async () => {
    const socket = await client();
    const parts = Array.from({ length: 60 }, (_, index) => `<${index}>`);
    proxy.delay(1, 30);
    const answer = received(socket, parts.join("").length);
    for (const [index, part] of parts.entries()) {
      socket.write(part);
      if (index === 40) proxy.delay(0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await answer).toBe(parts.join(""));
  });
});

describe("cut", () => {
  test("resets all connections and refuses new ones until it is healed", async () => {
    const socket = await client();
    await echo(socket, "hello");
    const lost = closing(socket);
    const lostAtServer = closing(serverSockets[0]);
    proxy.cut();
    await lost;
    await lostAtServer;
    await expect(client()).rejects.toThrow(/ECONNREFUSED/);
    await proxy.heal();
    expect(await echo(await client(), "again")).toBe("again");
  });

  test("and heal in the same moment leave a proxy that works, however often", async () => {
    for (let round = 0; round < 20; round++) {
      const before = await client();
      proxy.cut();
      const healed = proxy.heal();
      await healed;
      expect(await echo(await client(), `round ${round}`)).toBe(`round ${round}`);
      await closing(before);
    }
    await expect.poll(() => proxy.connections).toBe(1);
  });
});

describe("drop", () => {
  test("keeps connections open and swallows both ways, new ones too", async () => {
    const old = await client();
    await echo(old, "hello");
    proxy.drop();
    old.write("lost on the way there");
    serverSockets[0]?.write("lost on the way back");
    const young = await client();
    young.write("lost as well");
    let anything = "";
    for (const socket of [old, young]) {
      socket.on("data", (chunk) => {
        anything += chunk;
      });
    }
    expect(await settled(old)).toBe("open");
    expect(await settled(young)).toBe("open");
    expect(anything).toBe("");
    expect(heard).toEqual(["hello"]);
    expect(proxy.connections).toBe(2);
  });

  test("loses what is on its way", async () => {
    const socket = await client();
    await echo(socket, "hello");
    proxy.delay(30);
    socket.write("late");
    await settled(socket);
    proxy.drop();
    await proxy.heal({ broken: "keep" });
    const other = await client();
    await echo(other, "after");
    expect(heard).toEqual(["hello", "after"]);
  });

  test("hides a hang-up of either side from the other", async () => {
    const first = await client();
    const second = await client();
    await echo(first, "1");
    await echo(second, "2");
    proxy.drop();
    first.destroy();
    serverSockets[1]?.destroy();
    expect(await settled(second)).toBe("open");
    expect(serverSockets[0]?.readableEnded).toBe(false);
    const ended = Promise.all([closing(second), closing(serverSockets[0])]);
    await proxy.heal();
    await ended;
  });

  test("breaks its connections for good: heal ends them, also those that nothing was sent on", async () => {
    const old = await client();
    await echo(old, "hello");
    proxy.drop();
    const young = await client();
    const ended = Promise.all([closing(old), closing(young)]);
    await proxy.heal();
    await ended;
    expect(await echo(await client(), "again")).toBe("again");
  });

  test("leaves its connections silent for ever when heal is to keep them", async () => {
    const old = await client();
    await echo(old, "hello");
    proxy.drop();
    await proxy.heal({ broken: "keep" });
    old.write("still lost");
    expect(await echo(await client(), "whole")).toBe("whole");
    expect(await settled(old)).toBe("open");
    expect(heard).toEqual(["hello", "whole"]);
  });
});

describe("hold", () => {
  test("delivers late and in order what was sent meanwhile", async () => {
    const socket = await client();
    await echo(socket, "hello");
    proxy.hold();
    const answer = received(socket, 6);
    socket.write("one");
    await settled(socket);
    socket.write("two");
    await settled(socket);
    expect(heard).toEqual(["hello"]);
    await proxy.heal();
    expect(await answer).toBe("onetwo");
  });

  test("stops reading from a sender of very much, and loses none of it", async () => {
    const socket = await client();
    await echo(socket, "hello");
    proxy.hold();
    const text = "x".repeat(20_000_000);
    const answer = received(socket, text.length);
    socket.write(text);
    await settled(socket);
    expect(socket.writableLength).toBeGreaterThan(0);
    await proxy.heal();
    expect((await answer).length).toBe(text.length);
  });
});

describe("dropNext", () => {
  test("lets the command through, swallows its reply and resets the connection", async () => {
    const socket = await client();
    await echo(socket, "hello");
    proxy.dropNext(1);
    const ended = closing(socket);
    socket.write("done, but who knows");
    await ended;
    expect(heard).toEqual(["hello", "done, but who knows"]);
    expect(await echo(await client(), "next")).toBe("next");
  });

  test("swallows a command on its way there, and leaves the connection silent if told so", async () => {
    const socket = await client();
    await echo(socket, "hello");
    proxy.dropNext(2, { of: "client", effect: "silence" });
    socket.write("never heard");
    const other = await client();
    other.write("nor this");
    expect(await settled(socket)).toBe("open");
    socket.write("nor what follows");
    await settled(socket);
    expect(await echo(await client(), "next")).toBe("next");
    expect(heard).toEqual(["hello", "next"]);
  });
});

describe("stop", () => {
  test("ends all connections, gives the port back, and is final", async () => {
    const socket = await client();
    await echo(socket, "hello");
    const ended = closing(socket);
    await proxy.stop();
    expect(proxy.connections).toBe(0);
    await ended;
    await expect(client()).rejects.toThrow(/ECONNREFUSED/);
    await expect(proxy.heal()).rejects.toThrow(/after stop/);
  });
});
