import type { Cache } from "../../src/cache/api.ts";
import { createCache } from "../../src/cache/cache.ts";
import type { Answer, InvalidateOptions } from "../../src/cache/options.ts";
import type { LogFactory } from "../../src/coherence/log.ts";
import { RemoteLog } from "../../src/coherence/remote-log.ts";
import { memory } from "../../src/memory/memory.ts";
import { logClient, storeClient } from "./clients.ts";
import { type Bound, History, type Mutation, type Reader } from "./history.ts";
import { Link, type Weather } from "./network.ts";
import { type Config, KEYS, type KeyName, type Schedule, type Step } from "./schedule.ts";
import { type Host, type HostClock, hostClock, Scheduler, seeded } from "./scheduler.ts";
import { ServerNode } from "./server.ts";

/** A promise of the cache that was broken, or a call that never ended. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Longest time in milliseconds that any call may take once everything is well again. */
const LONGEST_CALL = 20_000;
/** How long a wait for all takes at most in good weather, in milliseconds: less than to the next heartbeat. */
const STRICT_WAIT = 450;
/** What is under way when a cache is closed has ended this long after, in milliseconds. */
const AFTER_CLOSE = 300;
/** How far clocks drift from the world's. */
const DRIFT = 0.005;
/** How long after its record was appended a process in good weather must have applied it, in milliseconds. */
const LOG_LAG = 300;

interface Op {
  readonly what: string;
  readonly process: Process;
  readonly startedAt: number;
  settled: boolean;
}

interface Load {
  readonly key: KeyName;
  readonly process: Process;
  /** When the read began that it is for. */
  readonly askedAt: number;
  readonly exclusive: boolean;
}

/** One process: a cache with its own clock and connections. */
interface Process {
  readonly name: string;
  readonly host: Host;
  readonly clock: HostClock;
  readonly cache: Cache;
  readonly links: { readonly store: Link; readonly commands: Link; readonly follower: Link };
  readonly reader: Reader;
  /** Versions it read, for P5. */
  readonly seen: Map<KeyName, number>;
  /** Records it applied. */
  readonly applied: Set<number>;
}

/** A source's failure, which readers may see. */
class SourceDown extends Error {}

/** Some processes, their servers, the network between, and everything that was done. */
export class World {
  readonly scheduler = new Scheduler();
  readonly history: History;
  readonly trace: string[] | undefined;
  readonly violations: string[] = [];
  readonly #config: Config;
  readonly #random: () => number;
  readonly #storeNode = new ServerNode();
  readonly #logNode: ServerNode;
  readonly #slots: Process[] = [];
  readonly #everyone: Process[] = [];
  readonly #ops = new Set<Op>();
  readonly #loads = new Set<Load>();
  /** When a load of each key last ended. */
  readonly #idle = new Map<KeyName, number>();
  /** When each key was last loaded past what is cached: the load under way then gives its place up. */
  readonly #refreshed = new Map<KeyName, number>();
  /** No fault so far. */
  #calm = true;

  #names = 0;
  #started = 0;
  #last: Mutation | undefined;

  constructor({ seed, config }: Schedule, traces: boolean) {
    this.#config = config;
    this.#random = seeded(seed);
    this.#logNode = config.apart ? new ServerNode() : this.#storeNode;
    this.history = new History(KEYS, config.maxLag / (1 - DRIFT) + 1);
    this.trace = traces ? [] : undefined;
    for (let i = 0; i < config.processes; i++) this.#slots.push(this.#start());
  }

  note(message: () => string): void {
    this.trace?.push(`${(this.scheduler.now - 1_000_000).toFixed(1).padStart(9)}  ${message()}`);
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.scheduler.run(20);
    for (const step of steps) {
      this.#do(step);
      await this.scheduler.run(step.gap);
      if (this.violations.length > 0) return;
    }
    await this.#end();
  }

  // Processes.

  #start(): Process {
    const { scheduler, trace } = this;
    const config = this.#config;
    const name = `p${++this.#started}`;
    const host: Host = { paused: false, dead: false, deferred: [] };
    const clock = hostClock(scheduler, host, 1 + DRIFT * (2 * this.#random() - 1));
    const store = new Link(scheduler, host, this.#storeNode, this.#random);
    const commands = new Link(scheduler, host, this.#logNode, this.#random);
    const follower = new Link(scheduler, host, this.#logNode, this.#random);
    const namer = (): string => `${name}.${++this.#names}`;
    const reader: Reader = {
      applied: 0,
      since: Number.POSITIVE_INFINITY,
      toldAt: 0,
      joinedAt: 0,
      generation: "",
    };
    const applied = new Set<number>();
    const log: LogFactory = (context) => {
      const client = logClient(scheduler, commands, follower, namer);
      const join = client.join;
      client.join = async (node, to, lease) => {
        const head = await join(node, to, lease);
        if (head.standing === "same") reader.joinedAt = this.scheduler.now;
        return head;
      };
      const remote = new RemoteLog(client, context);
      const open = remote.open.bind(remote);
      // Listens in: what the process has applied decides what it may still serve.
      remote.open = async (to) => {
        const head = await open({
          apply: (records) => {
            to.apply(records);
            reader.toldAt = this.scheduler.now;
            for (const { position, record } of records) {
              applied.add(position);
              reader.applied = position;
              if (record.kind === "clear") reader.generation = record.generation;
              this.note(() => `  ${name} applies ${position % 100_000} ${JSON.stringify(record)}`);
            }
          },
          reset: (at, why) => {
            to.reset(at, why);
            reader.toldAt = this.scheduler.now;
            reader.joinedAt = this.scheduler.now;
            reader.applied = at.position;
            reader.since = at.position;
            reader.generation = at.generation;
            this.note(() => `  ${name} is reset to ${at.generation}:${at.position % 100_000}: ${why}`);
          },
        });
        reader.toldAt = this.scheduler.now;
        reader.joinedAt = this.scheduler.now;
        reader.applied = head.position;
        reader.since = head.position;
        reader.generation = head.generation;
        return head;
      };
      return remote;
    };
    const cache = createCache({
      name: "sim",
      layers: [memory({ maxEntries: config.maxEntries }), storeClient(scheduler, store, namer)],
      log,
      clock,
      random: seeded(Math.floor(this.#random() * 2 ** 31)),
      logger: trace === undefined ? false : (message) => this.note(() => `  ${name} says: ${message}`),
      maxLag: config.maxLag,
      lease: config.lease,
      ttl: config.ttl,
      grace: config.grace,
      swr: config.swr,
      eager: config.eager ? 0.5 : false,
      ...(config.timeout > 0 ? { timeout: config.timeout } : {}),
    });
    const links = { store, commands, follower };
    const process: Process = { name, host, clock, cache, links, reader, applied, seen: new Map() };
    if (trace !== undefined)
      cache.on("layerError", ({ layer, action, error }) =>
        this.note(() => `  ${name} ${layer} failed to ${action}: ${String(error)}`),
      );
    this.#everyone.push(process);
    return process;
  }

  #crash(process: Process): void {
    process.host.dead = true;
    for (const link of Object.values(process.links)) link.reset();
    for (const op of this.#ops) if (op.process === process) this.#ops.delete(op);
    for (const load of this.#loads) if (load.process === process) this.#loads.delete(load);
  }

  /** Runs now, or when the process goes on. */
  #within(process: Process, work: () => void): void {
    if (process.host.paused) process.host.deferred.push(work);
    else work();
  }

  #resume(process: Process): void {
    process.host.paused = false;
    // Everything that fell due meanwhile happens at once, in order.
    for (const work of process.host.deferred.splice(0)) this.scheduler.after(0, work, process.host);
  }

  // Steps.

  #do(step: Step): void {
    const slot = step.who % this.#slots.length;
    const process = this.#slots[slot];
    const key = KEYS[step.key];
    if (process === undefined || key === undefined) return;
    const work = (): void => this.#act(step, process, key);
    switch (step.do) {
      case "wait":
        return;
      case "load":
      case "get":
      case "loadMany":
      case "getMany":
      case "after":
        this.#within(process, work);
        return;
      case "partition":
      case "slow":
      case "refuse":
      case "cut":
      case "heal":
      case "pause":
      case "crash":
      case "freeze":
      case "flush":
      case "restart":
      case "failOver":
      case "trim":
        this.#calm = false;
        this.#fault(step, process, slot);
        return;
      default:
        this.#within(process, work);
        return;
    }
  }

  #fault({ do: deed, how, gap }: Step, process: Process, slot: number): void {
    this.note(() => `${deed} ${process.name} (${how})`);
    const { store, commands, follower } = process.links;
    const links = [[store], [commands, follower], [store, commands, follower], [follower]][how % 4] ?? [];
    const lasts = [300, 900, 2_500, 5_000][(how >> 2) % 4] ?? 0;
    const weather = (to: Weather): void => {
      for (const link of links) link.change(to);
      this.scheduler.after(lasts, () => {
        for (const link of links) {
          if (link.weather === to) link.change("well");
        }
      });
    };
    const node = how % 2 === 0 ? this.#storeNode : this.#logNode;
    switch (deed) {
      case "partition":
        weather(how >= 64 ? "lossy" : "stalled");
        return;
      case "slow":
        weather("slow");
        return;
      case "refuse":
        for (const link of links) link.reset();
        weather("refusing");
        return;
      case "cut":
        for (const link of links) link.reset();
        return;
      case "heal":
        this.#heal();
        return;
      case "pause":
        process.host.paused = true;
        this.scheduler.after(lasts, () => {
          if (process.host.paused) this.#resume(process);
        });
        return;
      case "crash":
        this.#crash(process);
        this.#slots[slot] = this.#start();
        return;
      case "freeze":
        node.frozen = true;
        this.scheduler.after(lasts, () => this.#thaw(node));
        return;
      case "flush":
      case "restart":
        node.empty(this.scheduler.now);
        if (deed === "restart") this.#disconnect(node);
        return;
      case "failOver": {
        node.failOver(gap % 2 === 0 ? how % 8 : how % 32, this.scheduler.now);
        this.#disconnect(node);
        this.#wentBack(node);
        return;
      }
      case "trim":
        this.#logNode.step(this.scheduler.now, (state) => state.trim(1 + (how % 4)));
    }
  }

  #wentBack(node: ServerNode): void {
    if (node === this.#storeNode && this.#config.apart) this.history.storeWentBack = true;
    if (node !== this.#logNode) return;
    this.history.failedOverAt = this.scheduler.now;
    const kept = new Set(node.state.records.map(({ position }) => position));
    for (const by of this.history.mutations) if (!kept.has(by.position)) by.lost = true;
    // The same position may have been given to another record since an earlier failover: then it was lost before.
  }

  #disconnect(node: ServerNode): void {
    for (const { host, links } of this.#everyone)
      if (!host.dead) for (const link of Object.values(links)) if (link.node === node) link.reset();
  }

  #thaw(node: ServerNode): void {
    node.frozen = false;
    for (const work of node.queue.splice(0)) this.scheduler.after(0, work);
  }

  #heal(): void {
    this.#thaw(this.#storeNode);
    this.#thaw(this.#logNode);
    for (const process of this.#slots) {
      for (const link of Object.values(process.links)) link.change("well");
      if (process.host.paused) this.#resume(process);
    }
  }

  #act(step: Step, process: Process, key: KeyName): void {
    const { how } = step;
    this.note(() => `${process.name} ${step.do} ${key} (${how})`);
    const invalidate: InvalidateOptions = how % 4 === 3 ? { wait: "all" } : {};
    const { cache } = process;
    const group = key.slice(0, key.indexOf(":"));
    const grouped = KEYS.filter((name) => name.startsWith(group));
    switch (step.do) {
      case "load":
        this.#load(process, key, how, undefined);
        return;
      case "after":
        if (how % 3 === 0) this.#get(process, key, how, this.#last);
        else this.#load(process, key, how, this.#last);
        return;
      case "get":
        this.#get(process, key, how, undefined);
        return;
      case "getMany":
        this.#readMany(process, (keys) => cache.getMany(keys));
        return;
      case "loadMany":
        if (how % 8 === 7) for (const name of KEYS) this.#refreshed.set(name, this.scheduler.now);
        this.#readMany(process, (keys) =>
          cache.getOrSetMany(keys, (missing) => this.#fetchMany(process, missing, how), {
            // A batch has one set of tags: those of all its keys.
            tags: [...new Set(KEYS.flatMap(tagsOf))],
            ...(how % 8 === 7 ? { fresh: true } : {}),
          }),
        );
        return;
      case "delete":
        this.#mutate(step, process, [key], { byKey: true }, () => cache.delete(key, invalidate));
        return;
      case "deleteMany":
        this.#mutate(step, process, [key, "post:1"], { byKey: true }, () =>
          cache.deleteMany([key, "post:1"], invalidate),
        );
        return;
      case "tag":
        this.#mutate(step, process, [key], {}, () => cache.invalidateTags([`t:${key}`], invalidate));
        return;
      case "tagAll":
        this.#mutate(step, process, KEYS, {}, () => cache.invalidateTags(["all"], invalidate));
        return;
      case "prefix":
        this.#mutate(step, process, grouped, {}, () => cache.invalidatePattern(`${group}:*`, invalidate));
        return;
      case "glob":
        this.#mutate(step, process, [key], {}, () => cache.invalidatePattern(`?${key.slice(1)}`, invalidate));
        return;
      case "clear":
        this.#mutate(step, process, KEYS, {}, () => cache.clear(invalidate));
        return;
      case "expire":
        this.#mutate(step, process, [key], { soft: true, byKey: true }, () => cache.expire(key));
        return;
      case "softTag":
        this.#mutate(step, process, [key], { soft: true }, () =>
          cache.invalidateTags([`t:${key}`], { soft: true, ...invalidate }),
        );
        return;
      case "softPrefix":
        this.#mutate(step, process, grouped, { soft: true }, () =>
          cache.invalidatePattern(`${group}:*`, { soft: true, ...invalidate }),
        );
        return;
      case "set":
        this.#mutate(step, process, [key], { byKey: true, isSet: true }, () =>
          cache.set(key, this.history.row(key), {
            tags: tagsOf(key),
            ...(how % 16 === 9 ? { l1: false } : {}),
          }),
        );
        return;
    }
  }

  // Reads.

  #load(process: Process, key: KeyName, how: number, after: Mutation | undefined): void {
    const inLoader = how % 2 === 0;
    // A read after a position does not join what began before it: that load goes on for those who have it.
    if (how % 16 === 8 || after !== undefined) this.#refreshed.set(key, this.scheduler.now);
    const exclusive = how % 16 !== 8 && after === undefined;
    const askedAt = this.scheduler.now;
    this.#read(process, key, how, after, (report) =>
      process.cache.getOrSet(
        key,
        async (context) => {
          const version = await this.#fetch(process, key, how, exclusive ? askedAt : undefined);
          if (inLoader) context.tags(...tagsOf(key));
          return version;
        },
        {
          ...(inLoader ? {} : { tags: tagsOf(key) }),
          ...(how % 16 === 8 ? { fresh: true } : {}),
          ...(how % 16 === 9 ? { l1: false } : {}),
          ...(after === undefined ? {} : { after: positionOf(after) }),
          ...report,
        },
      ),
    );
  }

  #get(process: Process, key: KeyName, how: number, after: Mutation | undefined): void {
    this.#read(process, key, how, after, (report) =>
      process.cache.get(key, {
        ...(how % 4 === 1 ? { stale: true } : {}),
        ...(how % 8 === 2 ? { l1: false } : {}),
        ...(after === undefined ? {} : { after: positionOf(after) }),
        ...report,
      }),
    );
  }

  #read(
    process: Process,
    key: KeyName,
    how: number,
    after: Mutation | undefined,
    read: (report: { report?: (answer: Answer) => void }) => Promise<unknown>,
  ): void {
    let answer: Answer | undefined;
    const reports = how % 32 >= 16;
    const judge = this.#reader(process, key, after);
    const report = {
      report: (told: Answer): void => {
        answer = told;
      },
    };
    this.#call(process, `read ${key}`, read(reports ? report : {}), (value) => judge(value, answer));
  }

  #readMany(process: Process, read: (keys: KeyName[]) => Promise<unknown[]>): void {
    const judges = KEYS.map((key) => this.#reader(process, key, undefined));
    this.#call(process, "read many", read([...KEYS]), (values) => {
      for (const [i, judge] of judges.entries()) judge((values as unknown[])[i], undefined);
    });
  }

  /** Notes what a read that begins now must see; the answer judges what it saw. */
  #reader(
    process: Process,
    key: KeyName,
    after: Mutation | undefined,
  ): (value: unknown, answer: Answer | undefined) => void {
    const { now } = this.scheduler;
    const bounds = this.history.bounds(key, process, process.reader, now, after);
    const lowest = process.seen.get(key) ?? 0;
    if (this.#calm)
      for (const by of this.history.mutations)
        if (
          by.ended === "done" &&
          process.reader.applied < by.position &&
          now > (by.endedAt ?? now) + LOG_LAG
        )
          this.#violated(`${process.name} did not hear of ${by.what} for ${LOG_LAG} ms in good weather`);
    return (value, answer) => {
      this.note(
        () =>
          `  ${process.name} reads ${key} = ${String(value)} ${answer === undefined ? "" : `${answer.layer} ${answer.state}`}`,
      );
      if (value === undefined) return;
      const stale = answer === undefined ? this.#graced : answer.state === "stale";
      this.#check(process, key, value, stale, bounds);
      if (typeof value !== "number" || stale) return;
      if (this.#calm && value < lowest && !this.history.conflicted(key))
        this.#violated(`P5: ${process.name} read ${key} = ${value} after ${lowest}`);
      if (value > (process.seen.get(key) ?? 0)) process.seen.set(key, value);
    };
  }

  #check(process: Process, key: KeyName, value: unknown, stale: boolean, bounds: readonly Bound[]): void {
    if (typeof value !== "number" || value > this.history.row(key)) {
      this.#violated(`${process.name} read ${key} = ${String(value)}, which never was`);
      return;
    }
    for (const { version, by, promise } of bounds) {
      if (by.soft && stale) continue;
      if (value < version && !(by.lost && promise !== "in the end"))
        this.#violated(
          `${promise}: ${process.name} read ${key} = ${value}, which ${by.what} made unusable (now ${version})`,
        );
    }
  }

  /** The source: reads the row some time after it was asked, answers some time later. */
  async #fetch(process: Process, key: KeyName, how: number, askedAt: number | undefined): Promise<number> {
    const load: Load = { key, process, askedAt: askedAt ?? 0, exclusive: askedAt !== undefined };
    if (this.#calm && load.exclusive) {
      this.#checkAlone(load);
      const idle = this.scheduler.now - Math.max(load.askedAt, this.#idle.get(key) ?? 0);
      if (idle > STRICT_WAIT && ![...this.#loads].some((other) => other.key === key))
        this.#violated(`P8: ${process.name} waited ${Math.round(idle)} ms for nobody to load ${key}`);
    }
    this.#loads.add(load);
    const [first, second] = DURATIONS[(how >> 4) % 8] ?? [0, 0];
    try {
      await this.#sleep(process, first);
      const version = this.history.row(key);
      this.note(() => `  ${process.name} source reads ${key} = ${version}`);
      await this.#sleep(process, second);
      if (how % 16 === 10) throw new SourceDown();
      return version;
    } finally {
      this.#loads.delete(load);
      this.#idle.set(key, this.scheduler.now);
    }
  }

  async #fetchMany(process: Process, keys: readonly KeyName[], how: number): Promise<Map<KeyName, number>> {
    const versions = await Promise.all(keys.map((key) => this.#fetch(process, key, how, undefined)));
    return new Map(keys.map((key, i) => [key, versions[i] ?? 0]));
  }

  /** P6: nobody else loads the key, unless it was invalidated meanwhile. */
  #checkAlone(load: Load): void {
    for (const other of this.#loads) {
      if (other.key !== load.key || !other.exclusive || this.#config.eager) continue;
      const since = Math.min(load.askedAt, other.askedAt) - LOG_LAG;
      const disturbed = this.history.mutations.some(
        ({ versions, byKey, endedAt }) =>
          // Batches have the tags of all their keys.
          (!byKey || versions.has(load.key)) && (endedAt ?? this.scheduler.now) > since,
      );
      const refreshed = (this.#refreshed.get(load.key) ?? 0) > since;
      if (!disturbed && !refreshed)
        this.#violated(`P6: ${load.process.name} loads ${load.key} while ${other.process.name} does`);
    }
  }

  #sleep(process: Process, ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.scheduler.after(ms, resolve, process.host);
    });
  }

  // Mutations.

  #mutate(
    step: Step,
    process: Process,
    keys: readonly KeyName[],
    { soft = false, isSet = false, byKey = false }: { soft?: boolean; isSet?: boolean; byKey?: boolean },
    apply: () => Promise<{ readonly position: string }>,
  ): void {
    const { now } = this.scheduler;
    const strict = step.how % 4 === 3 && !isSet && step.do !== "expire";
    const what = `${process.name}'s ${soft ? "soft " : ""}${step.do} at ${(now - 1_000_000).toFixed(1)}`;
    const mutation = this.history.begin(
      { what, process, soft, strict, isSet, byKey },
      [...new Set(keys)],
      now,
    );
    this.#call(
      process,
      what,
      apply(),
      (report) => {
        const { position } = report as { position: string };
        const split = position.lastIndexOf(":");
        mutation.generation = position.slice(0, split);
        mutation.position = Number(position.slice(split + 1));
        mutation.ended = "done";
        const took = this.scheduler.now - now;
        if (this.#calm && strict && took > STRICT_WAIT)
          this.#violated(`P3: ${what} waited ${Math.round(took)} ms for all in good weather`);
        mutation.endedAt = this.scheduler.now;
        // Appended before a failover and told after it: which of the two histories it is in is not known here.
        if (this.history.failedOverAt >= mutation.startedAt) mutation.lost = true;
        this.#last = mutation;
      },
      (error) => {
        mutation.endedAt = this.scheduler.now;
        mutation.ended = String(error).includes("follow its log") ? "failed" : "owed";
      },
    );
  }

  #call(
    process: Process,
    what: string,
    call: Promise<unknown>,
    done: (value: unknown) => void,
    failed?: (error: unknown) => void,
  ): void {
    const op: Op = { what, process, startedAt: this.scheduler.now, settled: false };
    this.#ops.add(op);
    const end = (): boolean => {
      op.settled = true;
      this.#ops.delete(op);
      return !process.host.dead;
    };
    call.then(
      (value) => {
        if (end()) done(value);
      },
      (error: unknown) => {
        if (!end()) return;
        this.note(() => `  ${process.name} ${what} failed: ${String(error)}`);
        if (failed !== undefined) failed(error);
        else if (!(error instanceof SourceDown)) this.#violated(`P8: ${what} rejected with ${String(error)}`);
      },
    );
  }

  /** Whether a stale copy may be served. */
  get #graced(): boolean {
    return this.#config.grace > 0 || this.#config.swr > 0;
  }

  #violated(message: string): void {
    this.note(() => `VIOLATION ${message}`);
    this.violations.push(message);
  }

  // The end.

  /** Everything is well again: nothing hangs, everything that was promised holds everywhere, nothing is left. */
  async #end(): Promise<void> {
    this.note(() => "all is well again");
    this.#heal();
    await this.scheduler.run(this.#calm ? LOG_LAG : 4_000);
    await this.#callsEnd();
    if (this.violations.length > 0) return;
    const late = this.#start();
    this.#slots.push(late);
    await this.scheduler.run(30);
    for (const how of ["get", "load"] as const) {
      for (const process of this.#slots) for (const key of KEYS) this.#lastRead(process, key, how);
      await this.scheduler.run(40);
      await this.#callsEnd();
    }
    if (this.violations.length === 0) await this.#close();
  }

  async #callsEnd(): Promise<void> {
    const until = this.scheduler.now + LONGEST_CALL;
    while (this.#ops.size > 0 && this.scheduler.now < until) await this.scheduler.run(50);
    for (const { what, startedAt } of this.#ops)
      this.#violated(`P8: ${what} has not ended for ${Math.round(this.scheduler.now - startedAt)} ms`);
  }

  #lastRead(process: Process, key: KeyName, how: "get" | "load"): void {
    const witnessed = (by: Mutation): boolean =>
      this.#slots.some((one) => one.applied.has(by.position) || one === by.process);
    const alive = (one: object): boolean => this.#slots.some((process) => process === one);
    const bounds = this.history.finalBounds(key, process.reader, alive, witnessed);
    const read =
      how === "get"
        ? process.cache.get(key)
        : process.cache.getOrSet(key, () => this.history.row(key), { tags: tagsOf(key) });
    this.#call(process, `last ${how} of ${key}`, read, (value) => {
      this.note(() => `  ${process.name} last ${how} ${key} = ${String(value)}`);
      if (value !== undefined) this.#check(process, key, value, how === "load" && this.#graced, bounds);
    });
  }

  async #close(): Promise<void> {
    const closed = this.#slots.map((process) => process.cache.close());
    let done = false;
    void Promise.all(closed).then(() => {
      done = true;
    });
    for (let i = 0; i < 40 && !done; i++) await this.scheduler.run(i < 4 ? 10 : 250);
    if (!done) this.#violated("P8: close() has not ended");
    await this.scheduler.run(AFTER_CLOSE);
    for (const { name, clock, cache, links } of this.#slots) {
      if (clock.holding > 0)
        this.#violated(`${name} left ${clock.holding} timers that keep the process alive`);
      if (cache.stats().inFlight > 0) this.#violated(`${name} left loads in flight`);
      const calls = links.store.calls + links.commands.calls + links.follower.calls;
      if (calls > 0) this.#violated(`${name} left ${calls} calls of its servers`);
    }
    for (const { what } of this.#ops) this.#violated(`P8: ${what} has not ended after close`);
  }
}

/** How long the source takes to read a row, and to answer then. */
const DURATIONS = [
  [0, 0],
  [1, 2],
  [2, 20],
  [30, 50],
  [5, 300],
  [0, 900],
  [0, 5],
  [0, 2_500],
] as const;

function tagsOf(key: KeyName): string[] {
  return [`t:${key}`, "all"];
}

function positionOf({ generation, position }: Mutation): string {
  return `${generation}:${position}`;
}
