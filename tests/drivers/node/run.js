// Tests of the Node.js drivers `pg` (with pg-cursor and pg-copy-streams) and `postgres`. Says one line for each case; see
// tests/lib/tap.py. The server comes in PGHOST, PGPORT, PGUSER, PGDATABASE; the packages in NODE_PATH.
'use strict';
const assert = require('node:assert/strict');
const { pipeline } = require('node:stream/promises');
const { Readable, Writable } = require('node:stream');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const postgres = require('postgres');

const ENDLESS = 'WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s';
const numbers = (n) => `WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${n}) SELECT n FROM s`;
const cases = [];
const test = (name, run) => cases.push([name, run]);
let tables = 0;
const table = () => `node_${process.pid}_${tables++}`;

async function withClient(run) {
  const client = new Client({ ssl: false });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

async function withSql(run, options = {}) {
  const sql = postgres({ ssl: false, fetch_types: false, max: 4, onnotice: () => {}, ...options });
  try {
    return await run(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

test('pg: types', () => withClient(async (c) => {
  const t = table();
  await c.query(`CREATE TABLE ${t}(i INTEGER, b BOOLEAN, r REAL, n NUMERIC, s TEXT, x BLOB, d DATE, ts TIMESTAMP, u UUID, j JSON)`);
  const blob = Buffer.from(Array.from({ length: 256 }, (_, k) => k));
  const row = ['9223372036854775807', true, 0.1, '12.5', 'größer ☃', blob, '2024-02-29', '2024-02-29 01:02:03',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', { a: [1, null] }];
  const done = await c.query(`INSERT INTO ${t} VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)`, row);
  assert.equal(done.rowCount, 1);
  assert.equal(done.command, 'INSERT');
  await c.query(`INSERT INTO ${t}(i) VALUES (NULL)`);
  const got = (await c.query(`SELECT * FROM ${t}`)).rows;
  assert.equal(got[0].i, '9223372036854775807');
  assert.equal(got[0].b, true);
  assert.equal(got[0].r, 0.1);
  assert.equal(got[0].n, '12.5');
  assert.equal(got[0].s, 'größer ☃');
  assert.deepEqual(got[0].x, blob);
  assert.equal(got[0].d.getFullYear(), 2024);
  assert.equal(got[0].ts.getMinutes(), 2);
  assert.equal(got[0].u, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
  assert.deepEqual(got[0].j, { a: [1, null] });
  assert.ok(Object.values(got[1]).every((v) => v === null));
}));

test('pg: prepared statements by name', () => withClient(async (c) => {
  const t = table();
  await c.query(`CREATE TABLE ${t}(a INTEGER)`);
  for (let n = 0; n < 50; n++) await c.query({ name: 'ins', text: `INSERT INTO ${t} VALUES ($1)`, values: [n] });
  const got = await c.query({ name: 'sum', text: `SELECT sum(a) AS total FROM ${t}` });
  assert.equal(got.rows[0].total, '1225');
}));

test('pg: several statements and results', () => withClient(async (c) => {
  const got = await c.query("SELECT 1 AS a; SELECT 'x' AS b, 'y' AS c");
  assert.deepEqual(got.map((r) => r.rows), [[{ a: '1' }], [{ b: 'x', c: 'y' }]]);
  assert.equal((await c.query('')).rows.length, 0);
}));

test('pg: errors and recovery', () => withClient(async (c) => {
  const t = table();
  await c.query(`CREATE TABLE ${t}(a INTEGER PRIMARY KEY)`);
  await c.query(`INSERT INTO ${t} VALUES (1)`);
  for (const [sql, code] of [['SELECT absent', '42703'], ['SELEC', '42601'], ['SELECT * FROM nowhere', '42P01'],
    [`INSERT INTO ${t} VALUES (1)`, '23505']]) {
    await assert.rejects(c.query(sql), { code, severity: 'ERROR' });
    await assert.rejects(c.query(sql + ' ', []), { code });
  }
  await assert.rejects(c.query('SELECT absent'), { position: '8' });
  await assert.rejects(c.query('SELECT absent WHERE $1', [1]), { code: '42703' });
  assert.equal((await c.query('SELECT 1 AS one')).rows[0].one, '1');
}));

test('pg: transactions', () => withClient(async (c) => {
  const t = table();
  await c.query(`CREATE TABLE ${t}(a INTEGER)`);
  await c.query('BEGIN');
  await c.query(`INSERT INTO ${t} VALUES ($1)`, [1]);
  await c.query('ROLLBACK');
  await c.query('BEGIN');
  await c.query(`INSERT INTO ${t} VALUES ($1)`, [2]);
  await c.query('COMMIT');
  assert.deepEqual((await c.query(`SELECT a FROM ${t}`)).rows, [{ a: '2' }]);
}));

test('pg: cursor', () => withClient(async (c) => {
  const cursor = c.query(new Cursor(numbers(250)));
  let seen = 0;
  for (;;) {
    const rows = await cursor.read(100);
    if (rows.length === 0) break;
    rows.forEach((r) => assert.equal(r.n, String(++seen)));
  }
  await cursor.close();
  assert.equal(seen, 250);
  const early = c.query(new Cursor(numbers(1000)));
  assert.equal((await early.read(10)).length, 10);
  await early.close();
  assert.equal((await c.query('SELECT 1 AS a')).rows[0].a, '1');
}));

test('pg: copy streams', () => withClient(async (c) => {
  const t = table();
  await c.query(`CREATE TABLE ${t}(a INTEGER, b TEXT)`);
  const lines = Array.from({ length: 5000 }, (_, n) => `${n}\trow ${n}\n`);
  await pipeline(Readable.from(lines), c.query(copy.from(`COPY ${t} FROM STDIN`)));
  let out = '';
  await pipeline(c.query(copy.to(`COPY ${t} TO STDOUT`)),
    new Writable({ write(chunk, _, done) { out += chunk; done(); } }));
  assert.equal(out, lines.join(''));
  await assert.rejects(pipeline(Readable.from(['1\ttoo\tmany\n']), c.query(copy.from(`COPY ${t} FROM STDIN`))), { code: '22P04' });
  assert.equal((await c.query(`SELECT count(*) AS n FROM ${t}`)).rows[0].n, '5000');
}));

test('pg: listen and notify', () => withClient((listener) => withClient(async (sender) => {
  const got = new Promise((resolve) => listener.on('notification', resolve));
  await listener.query('LISTEN node_news');
  await sender.query("NOTIFY node_news, 'hello'");
  const message = await got;
  assert.equal(message.channel, 'node_news');
  assert.equal(message.payload, 'hello');
})));

test('pg: statement_timeout of the driver', async () => {
  const c = new Client({ ssl: false, statement_timeout: 150 });
  await c.connect();
  await assert.rejects(c.query(ENDLESS), { code: '57014' });
  await c.query('SELECT 1');
  await c.end();
});

test('pg: pool', async () => {
  const pool = new Pool({ ssl: false, max: 5 });
  const t = table();
  await pool.query(`CREATE TABLE ${t}(n INTEGER)`);
  await pool.query(`INSERT INTO ${t} VALUES (0)`);
  await Promise.all(Array.from({ length: 200 }, () => pool.query(`UPDATE ${t} SET n = n + $1`, [1])));
  assert.equal((await pool.query(`SELECT n FROM ${t}`)).rows[0].n, '200');
  await pool.end();
});

test('pg: large blob', () => withClient(async (c) => {
  const t = table();
  await c.query(`CREATE TABLE ${t}(x BLOB)`);
  const blob = Buffer.alloc(4 << 20, 0xa5);
  await c.query(`INSERT INTO ${t} VALUES ($1)`, [blob]);
  assert.ok((await c.query(`SELECT x FROM ${t}`)).rows[0].x.equals(blob));
}));

test('pg: row mode array and field types', () => withClient(async (c) => {
  const got = await c.query({ text: "SELECT 1 AS a, 'x' AS b", rowMode: 'array' });
  assert.deepEqual(got.rows, [['1', 'x']]);
  assert.deepEqual(got.fields.map((f) => [f.name, f.dataTypeID]), [['a', 20], ['b', 25]]);
}));

test('postgres: types', () => withSql(async (sql) => {
  const t = table();
  await sql.unsafe(`CREATE TABLE ${t}(i INTEGER, b BOOLEAN, r REAL, s TEXT, x BLOB, j JSON)`);
  const blob = Buffer.from([0, 255, 1]);
  await sql`INSERT INTO ${sql(t)} VALUES (${42}, ${true}, ${0.1}, ${'größer'}, ${blob}, ${sql.json({ a: 1 })})`;
  await sql`INSERT INTO ${sql(t)} ${sql({ i: 7, s: null })}`;
  const rows = await sql`SELECT * FROM ${sql(t)} ORDER BY rowid`;
  assert.equal(rows[0].i, '42');
  assert.equal(rows[0].b, true);
  assert.equal(rows[0].r, 0.1);
  assert.equal(rows[0].s, 'größer');
  assert.ok(rows[0].x.equals(blob));
  assert.deepEqual(rows[0].j, { a: 1 });
  assert.equal(rows[1].i, '7');
  assert.equal(rows[1].s, null);
  assert.equal(rows.count, 2);
}));

test('postgres: statements are prepared and reused', () => withSql(async (sql) => {
  const t = table();
  await sql.unsafe(`CREATE TABLE ${t}(a INTEGER)`);
  for (let n = 0; n < 30; n++) await sql`INSERT INTO ${sql(t)} VALUES (${n})`;
  assert.equal((await sql`SELECT sum(a) AS s FROM ${sql(t)}`)[0].s, '435');
}, { max: 1 }));

test('postgres: transactions', () => withSql(async (sql) => {
  const t = table();
  await sql.unsafe(`CREATE TABLE ${t}(a INTEGER)`);
  await sql.begin(async (tx) => {
    await tx`INSERT INTO ${tx(t)} VALUES (1)`;
    await tx.savepoint(async (sp) => {
      await sp`INSERT INTO ${sp(t)} VALUES (2)`;
      throw new Error('back');
    }).catch(() => {});
  });
  await assert.rejects(sql.begin(async (tx) => {
    await tx`INSERT INTO ${tx(t)} VALUES (3)`;
    throw new Error('no');
  }), /no/);
  assert.deepEqual((await sql`SELECT a FROM ${sql(t)}`).map((r) => r.a), ['1']);
}));

test('postgres: errors and recovery', () => withSql(async (sql) => {
  await assert.rejects(sql`SELECT absent`, { code: '42703' });
  await assert.rejects(sql`SELECT * FROM nowhere`, { code: '42P01' });
  assert.equal((await sql`SELECT 1 AS a`)[0].a, '1');
}, { max: 1 }));

test('postgres: cursor', () => withSql(async (sql) => {
  let seen = 0;
  await sql.unsafe(numbers(55)).cursor(10, (rows) => { seen += rows.length; });
  assert.equal(seen, 55);
  for await (const rows of sql.unsafe(numbers(30)).cursor(7)) seen += rows.length;
  assert.equal(seen, 85);
}, { max: 1 }));

test('postgres: pipelined queries', () => withSql(async (sql) => {
  const got = await Promise.all(Array.from({ length: 200 }, (_, n) => sql`SELECT ${'v' + n} AS v`));
  got.forEach((rows, n) => assert.equal(rows[0].v, 'v' + n));
}, { max: 1 }));

test('postgres: copy', () => withSql(async (sql) => {
  const t = table();
  await sql.unsafe(`CREATE TABLE ${t}(a INTEGER, b TEXT)`);
  const writable = await sql.unsafe(`COPY ${t} FROM STDIN`).writable();
  await pipeline(Readable.from(['1\tone\n', '2\ttwo\n']), writable);
  const readable = await sql.unsafe(`COPY ${t} TO STDOUT`).readable();
  let out = '';
  for await (const chunk of readable) out += chunk;
  assert.equal(out, '1\tone\n2\ttwo\n');
}, { max: 1 }));

test('postgres: listen and notify', () => withSql(async (sql) => {
  let heard;
  const got = new Promise((resolve) => { heard = resolve; });
  const { unlisten } = await sql.listen('postgres_news', heard);
  await sql.notify('postgres_news', 'hello');
  assert.equal(await got, 'hello');
  await unlisten();
}));

test('postgres: cancel', () => withSql(async (sql) => {
  const query = sql.unsafe(ENDLESS);
  const failed = assert.rejects(query, { code: '57014' });
  query.execute();
  const again = setInterval(() => query.cancel(), 100);
  await failed;
  clearInterval(again);
}, { max: 1 }));

(async () => {
  let failed = 0;
  for (const [name, run] of cases) {
    try {
      let timer;
      await Promise.race([run(), new Promise((_, no) => { timer = setTimeout(() => no(new Error('took more than 20 s')), 20000); })]);
      clearTimeout(timer);
      console.log(`ok ${name}`);
    } catch (e) {
      failed++;
      console.log(`not ok ${name} - ${String(e.message).split('\n')[0]} ${e.code || ''}`);
      console.log(e.stack);
    }
  }
  process.exit(failed ? 1 : 0);
})();
