import { execFile } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { StoreError } from "../../src/index.ts";
import { openEnvironment } from "../../src/stores/disk/environment.ts";
import { disk } from "../../src/stores/disk/index.ts";
import { manualClock, storedEntry } from "../../src/testing/index.ts";

const folders: string[] = [];
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "cu-trouble-"));
  folders.push(path);
  return path;
}
afterAll(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

const context = (warnings: string[] = [], clock = manualClock()) => ({
  cacheName: "t",
  maxLag: 5_000,
  clock,
  random: Math.random,
  warn: (message: string) => void warnings.push(message),
});

describe("the disk store in trouble", () => {
  it.skipIf(process.platform === "win32")(
    "whose disk is full rejects writes, and the process goes on",
    async () => {
      const script = new URL("./disk-full.ts", import.meta.url).pathname;
      // A file may grow to 2,000 blocks of 512 or 1,024 bytes; Node ignores the signal that comes with it.
      const { stdout } = await promisify(execFile)(
        "/bin/sh",
        ["-c", 'ulimit -f 2000; exec "$0" "$@"', process.execPath, script, folder()],
        { timeout: 30_000 },
      );
      const { written, failed, read, unhandled } = JSON.parse(stdout);
      expect(written).toBeGreaterThan(0);
      expect(failed).toMatchObject({
        code: "ERR_CACHE_STORE",
        message: expect.stringContaining("not write"),
      });
      expect(read).toBe(true);
      expect(unhandled).toEqual([]);
    },
    40_000,
  );

  it("with every page behind the head damaged is rebuilt with a warning", async () => {
    const path = folder();
    const before = disk({ path }).open(context());
    await before.write(
      Array.from({ length: 500 }, (_, i) => [`k${i}`, storedEntry({ value: Buffer.alloc(300) })] as const),
    );
    await before.close();
    const data = join(path, "cache.lmdb");
    const file = openSync(data, "r+");
    const pages = Math.floor(statSync(data).size / 4_096);
    for (let page = 2; page < pages; page++)
      writeSync(file, Buffer.alloc(4_096, 0xab), 0, 4_096, page * 4_096);
    closeSync(file);
    const warnings: string[] = [];
    const store = disk({ path }).open(context(warnings));
    expect(warnings).toEqual([expect.stringContaining("rebuilt")]);
    await store.write([["new", storedEntry()]]);
    expect(await store.stats()).toMatchObject({ entries: 1 });
    await store.close();
  });

  it("leaves alone what another program keeps under the same names", () => {
    const path = folder();
    writeFileSync(join(path, "caching-universal.json"), '{"mine":true}');
    writeFileSync(join(path, "cache.lmdb"), "precious");
    expect(() => disk({ path }).open(context())).toThrow(StoreError);
    expect(readFileSync(join(path, "cache.lmdb"), "utf8")).toBe("precious");
    expect(readFileSync(join(path, "caching-universal.json"), "utf8")).toBe('{"mine":true}');
  });

  it.each(["cache.lmdb", "cache.lmdb-lock", "caching-universal.json"])(
    "does not follow a link that leads nowhere yet: %s",
    async (name) => {
      const path = folder();
      await disk({ path }).open(context()).close();
      rmSync(join(path, name), { force: true });
      const target = join(folder(), "target");
      symlinkSync(target, join(path, name));
      expect(() => disk({ path }).open(context())).toThrow("not a plain file");
      expect(existsSync(target)).toBe(false);
    },
  );

  it("forgets leases whose holders died, without reads", async () => {
    const path = folder();
    const clock = manualClock();
    const store = disk({ path }).open(context([], clock));
    await store.read(
      Array.from({ length: 300 }, (_, i) => `k${i}`),
      { lease: 1_000 },
    );
    const [kept] = await store.read(["kept"], { lease: 1_000_000 });
    const env = openEnvironment(path, () => undefined);
    const left = () => {
      env.renew();
      return [...env.table("t/leases").getKeys()].length;
    };
    expect(left()).toBe(301);
    clock.tick(5_000);
    await expect.poll(left).toBe(1);
    expect(await store.fill("kept", storedEntry(), String(kept?.lease))).toBe("stored");
    await env.release();
    await store.close();
  });
});
