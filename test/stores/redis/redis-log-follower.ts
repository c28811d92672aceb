// A process that follows a log until it is killed. Arguments: URL of the Redis, name of the cache.
import { follow } from "./redis-log-following.ts";

const [, , url = "", name = ""] = process.argv;
const { head } = await follow(name, { url });
process.send?.(head);
setInterval(() => undefined, 1_000);
