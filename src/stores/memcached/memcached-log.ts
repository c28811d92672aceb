import { StoreError } from "../../base/errors.ts";
import type { ActivePattern, LayerContext, LogHead, Position, TagPositions } from "../../coherence/log.ts";
import type {
  Applied,
  LogServer,
  ServerHead,
  ServerRecord,
  SignedRecord,
  Standing,
} from "../../coherence/log-server.ts";
import type { Connection } from "./connection.ts";
import { Items } from "./items.ts";
import type { KeyNames } from "./key-names.ts";
import { type ChainHead, LogChain, MOST_RECORDS, moved, type SeenHead } from "./log-chain.ts";
import { LogFollowers } from "./log-followers.ts";
import { LogPatterns } from "./log-patterns.ts";
import { LogTags } from "./log-tags.ts";

/** How often the head is looked at, in milliseconds: a small item that is always in memory. */
const POLL = 10;
/** How often a step is tried again because others were faster. */
const TRIES = 200;
interface Waiting {
  readonly records: readonly SignedRecord[];
  readonly resolve: (head: LogHead) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A log in one Memcached server. Any item of it may be evicted at any time, so what is missing is never taken
 * for what never was: a missing head is a new history, a missing block a gap, a missing tag an invalidation now,
 * missing patterns the end of the generation, a missing follower one that has seen nothing.
 */
export class MemcachedLogServer implements LogServer {
  readonly name: string;
  readonly #reader: Connection;
  readonly #writer: Connection;
  /** Of the connection that follows, and of the one that does all else. */
  readonly #read: Items;
  readonly #write: Items;
  readonly #context: LayerContext;
  readonly #chain: LogChain;
  readonly #tags: LogTags;
  readonly #patterns: LogPatterns;
  readonly #followers: LogFollowers;
  /** The history that the follower's `#last` belongs to. */
  #epoch = "";
  #last: Applied = { position: 0, id: "" };
  #queue: Waiting[] = [];
  #appending = false;
  /** The read that is under way: an earlier one, given up by its caller, ends. */
  #reads = 0;
  #wake: () => void = () => undefined;
  #closed = false;

  constructor(name: string, reader: Connection, writer: Connection, names: KeyNames, context: LayerContext) {
    this.name = name;
    this.#reader = reader;
    this.#writer = writer;
    this.#read = new Items(reader);
    this.#write = new Items(writer);
    this.#context = context;
    this.#chain = new LogChain(names);
    this.#tags = new LogTags(this.#chain, names);
    this.#patterns = new LogPatterns(this.#chain);
    this.#followers = new LogFollowers(names);
  }

  async join(node: string, applied: Applied | undefined, lease: number): Promise<ServerHead> {
    const tell = (epoch: string, position: Position): Promise<void> =>
      this.#followers.register(this.#read, node, { epoch, position, lease });
    // On the list before it looks: who does not find it there appended before this look (P3).
    if (applied === undefined) await tell("", 0);
    const { head } = await this.#headOrNew(this.#read, this.#reader);
    const standing = await this.#standing(head, applied);
    const known = standing === "same" || standing === "trimmed";
    if (applied !== undefined) await tell(head.epoch, known ? applied.position : 0);
    const { generation, position, id, epoch } = head;
    this.#last = standing === "same" && applied !== undefined ? applied : { position, id };
    this.#epoch = epoch;
    return { generation, position, id, standing };
  }

  append(records: readonly SignedRecord[]): Promise<LogHead> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ records, resolve, reject });
      if (!this.#appending) void this.#appendAll();
    });
  }

  async read(after: Position, limit: number, wait: number): Promise<readonly ServerRecord[]> {
    const read = ++this.#reads;
    const until = performance.now() + wait;
    for (;;) {
      const head = (await this.#chain.head(this.#read))?.head;
      this.#assertCurrent(read);
      // Rejected, so that the follower joins at once and learns how it stands.
      if (head === undefined) throw new StoreError("the log is gone from Memcached");
      const id = this.#last.position === after ? this.#last.id : undefined;
      if (head.position < after || (head.position === after && id !== undefined && head.id !== id))
        throw new StoreError("the log in Memcached is another one now");
      if (head.position > after) {
        const records = await this.#chain.read(this.#read, head, after, id, limit);
        this.#assertCurrent(read);
        const last = records?.at(-1);
        if (records === undefined || last === undefined)
          throw new StoreError("records of the log are gone from Memcached, or it is another log now");
        this.#last = { position: last.position, id: last.id };
        return records;
      }
      const left = until - performance.now();
      if (left <= 0) return [];
      await this.#pause(Math.min(POLL, left));
    }
  }

  async unacknowledged(position: Position): Promise<number> {
    const seen = await this.#chain.head(this.#write);
    // As `RemoteLog` counts it: all processes of a cache have one `maxLag`.
    const lease = Math.ceil(this.#context.maxLag * 1.01) + 10;
    return this.#followers.unacknowledged(this.#write, seen?.head.epoch ?? "", position, lease);
  }

  async renounce(generation: string, above: Position): Promise<LogHead> {
    for (let left = TRIES; left > 0; left--) {
      const seen = await this.#headOrNew(this.#write, this.#writer, above);
      if (seen.head.generation !== generation)
        return { generation: seen.head.generation, position: seen.head.position };
      await this.#chain.found(this.#write, this.#writer, above, seen);
    }
    throw this.#crowded();
  }

  async tagPositions(tags: readonly string[]): Promise<TagPositions[]> {
    return this.#tags.positions(this.#write, tags);
  }

  async patterns(): Promise<ActivePattern[]> {
    for (let left = 3; left > 0; left--) {
      const { head } = await this.#headOrNew(this.#write, this.#writer);
      const known = await this.#patterns.list(this.#write, head);
      if (known !== undefined) return known;
      // P7: which entries they concerned cannot be told any more, so none is believed.
      await this.renounce(head.generation, head.position);
    }
    throw new StoreError("Memcached has no memory to keep the patterns of the log.");
  }

  async swept(pattern: ActivePattern): Promise<void> {
    const seen = await this.#chain.head(this.#write);
    if (seen !== undefined) await this.#patterns.remove(this.#write, seen.head, pattern);
  }

  async leave(node: string): Promise<void> {
    await this.#followers.remove(this.#write, node);
  }

  reconnect(): void {
    this.#reads++;
    this.#wake();
    this.#reader.reset("its answer was not waited for");
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    this.#reader.close();
    this.#writer.close();
  }

  async #standing(head: ChainHead, applied: Applied | undefined): Promise<Standing> {
    if (applied === undefined) return "new";
    if (this.#epoch !== "" && this.#epoch !== head.epoch) return "other";
    const known = await this.#chain.has(this.#read, head, applied);
    return known === undefined ? "trimmed" : known ? "same" : "other";
  }

  #assertCurrent(read: number): void {
    if (read !== this.#reads || this.#closed) throw new StoreError("the read was given up");
  }

  /** The head; of a new history where there is none. */
  async #headOrNew(items: Items, connection: Connection, above: Position = 0): Promise<SeenHead> {
    for (let left = TRIES; left > 0; left--) {
      const seen = await this.#chain.head(items);
      if (seen !== undefined) return seen;
      await this.#chain.found(items, connection, Math.max(above, this.#last.position));
    }
    throw this.#crowded();
  }

  /** Appends what waits, in blocks, one after another: what is asked at once stays in order and travels together. */
  async #appendAll(): Promise<void> {
    this.#appending = true;
    // What is asked in this turn goes along.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch: Waiting[] = [];
      let count = 0;
      for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
        if (batch.length > 0 && count + next.records.length > MOST_RECORDS) break;
        batch.push(next);
        count += next.records.length;
        this.#queue.shift();
      }
      try {
        await this.#appendBatch(batch);
        this.#wake(); // its own follower reads it now, not at its next look
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#appending = false;
  }

  async #appendBatch(batch: readonly Waiting[]): Promise<void> {
    const [only] = batch;
    if (batch.length === 1 && only !== undefined && only.records.length > MOST_RECORDS) {
      let end: ChainHead | undefined;
      for (let at = 0; at < only.records.length; at += MOST_RECORDS) {
        const part = only.records.slice(at, at + MOST_RECORDS);
        end = moved(await this.#appendBlock(part), part);
      }
      if (end !== undefined) only.resolve({ generation: end.generation, position: end.position });
      return;
    }
    let head = await this.#appendBlock(batch.flatMap(({ records }) => records));
    for (const { records, resolve } of batch) {
      head = moved(head, records);
      resolve({ generation: head.generation, position: head.position });
    }
  }

  /** Answers the head before the records. */
  async #appendBlock(records: readonly SignedRecord[]): Promise<ChainHead> {
    for (let left = TRIES; left > 0; left--) {
      if (this.#closed) throw new StoreError("The log is closed.");
      const seen = await this.#headOrNew(this.#write, this.#writer);
      if (records.length === 0) return seen.head;
      const cas = await this.#chain.add(this.#write, seen.head, records);
      if (cas === undefined) await this.#help(seen);
      else if (await this.#link(seen, records)) return seen.head;
      else if (await this.#isLinked(seen.head, records)) return seen.head;
      // Not part of the chain, where an evicted block left room for it: nobody may take it for one.
      else await this.#chain.removeBlock(this.#write, seen.head, seen.head.position + 1, cas);
    }
    throw this.#crowded();
  }

  /** Moves the head over a block that somebody else put behind it, and perhaps did not live to move. */
  async #help(seen: SeenHead): Promise<void> {
    const block = await this.#chain.block(this.#write, seen.head, seen.head.position + 1);
    if (block === undefined) return;
    if (block.prev === seen.head.id && block.records.length > 0) await this.#link(seen, block.records);
    else await this.#chain.removeBlock(this.#write, seen.head, seen.head.position + 1, block.cas);
  }

  /** Does what the records do to tags and patterns, then moves the head: who sees the head sees all of it. */
  async #link({ head, cas }: SeenHead, records: readonly SignedRecord[]): Promise<boolean> {
    const position = head.position + 1;
    const [, kept] = await Promise.all([
      this.#tags.mark(this.#write, records, position),
      this.#patterns.add(this.#write, head, records, position),
    ]);
    if (kept) return this.#chain.moveHead(this.#write, moved(head, records), cas);
    await this.renounce(head.generation, head.position);
    return false;
  }

  /** Whether these records follow this head in the history: somebody helped. */
  async #isLinked(head: ChainHead, records: readonly SignedRecord[]): Promise<boolean> {
    const now = (await this.#chain.head(this.#write))?.head;
    const end = moved(head, records);
    if (now === undefined || now.epoch !== head.epoch || now.position < end.position) return false;
    if (now.position === end.position) return now.id === end.id;
    return (await this.#chain.block(this.#write, now, end.position + 1))?.prev === end.id;
  }

  /** Until it is time to look again, or something is known to be there. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      // Does not keep the process alive: nobody has to hear of what comes.
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #crowded(): StoreError {
    return new StoreError("Too many processes append to the log in Memcached at once.");
  }
}
