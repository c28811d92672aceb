import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";

/** Something wrong with a request, as its client is told. */
export class Problem extends Error {
  override name = "Problem";
  readonly status: ContentfulStatusCode;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;
  constructor(
    status: ContentfulStatusCode,
    code: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

export const notFound = (what: string) => new Problem(404, "not_found", `There is no ${what}.`);
export const badRequest = (message: string) => new Problem(400, "bad_request", message);

/** Largest id a PostgreSQL `int` holds. */
const MAX_ID = 2_147_483_647;

/** An id out of a path or query. @throws {Problem} 400 when it is not a whole number from 1. */
export function idOf(text: string | undefined, what: string): number {
  const id = /^[1-9]\d{0,9}$/.test(text ?? "") ? Number(text) : Number.NaN;
  if (id <= MAX_ID) return id;
  throw badRequest(`${what} is ${JSON.stringify(text ?? "")}: expected a whole number from 1 to ${MAX_ID}.`);
}

/** The JSON body of a request. @throws {Problem} 415 without its media type, 400 when it does not fit `schema`. */
export async function bodyOf<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
  // Asking for the media type also keeps out forms that a foreign page could post without being allowed to.
  if (!/^application\/json\b/i.test(context.req.header("content-type") ?? ""))
    throw new Problem(415, "media_type", 'Send JSON, with the header "Content-Type: application/json".');
  const text = await context.req.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw badRequest(`The body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`);
  throw badRequest(issues.join("; "));
}
