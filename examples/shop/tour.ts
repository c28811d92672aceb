/** Lines to paste into a shell, in the order in which they show what the cache does. */
export function tour(address: string, layers: readonly string[]): string {
  const shared = layers.slice(1);
  return `A shop over a database, cached by caching-universal in ${layers.join(", then ")}.
The header Cache-Status of each answer tells which layer gave it. Paste, in this order:

  curl -i ${address}/products/42                      # the first time: fwd=miss, detail=database
  curl -i ${address}/products/42                      # again: hit, detail=memory
  curl -X DELETE ${address}/cache/tags/products       # every product becomes unusable, in one step
  curl -i ${address}/products/42                      # from the database again

  curl -i '${address}/products?ids=42,43,44'          # a batch: one from memory, two in one statement
  curl -i -X PATCH -H 'Content-Type: application/json' -d '{"price_cents":999}' ${address}/products/42
  curl -i ${address}/products/42                      # written through: a hit, with the new price
  curl -i '${address}/search?q=oak+chair'             # half a scan of the table; twice, and it is not
  curl -i ${address}/reports/sales                    # a scan of all orders; refreshed before it expires
  curl -i ${address}/users/7/orders                   # kept apart from every other user's
  curl -i -X POST -H 'Content-Type: application/json' \\
    -d '{"user_id":7,"lines":[{"product_id":42,"quantity":1}]}' ${address}/orders
  curl -i ${address}/users/7/orders                   # has the new order

  curl ${address}/cache/stats                         # hit rates and latencies by layer
  curl ${address}/cache/health
  curl ${address}/cache/explain/product:42            # why a read would hit or miss
  curl -X DELETE ${address}/cache/keys/product:42
  curl -X DELETE '${address}/cache/pattern?glob=product:*'

Kill it with kill -9 and start it again: what was cached is still there (detail=${shared[0]}).
`;
}
