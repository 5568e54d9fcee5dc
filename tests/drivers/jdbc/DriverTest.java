// Tests of the PostgreSQL JDBC driver. Says one line for each case; see tests/lib/tap.py.
// Run as a single-file program: java -cp postgresql.jar DriverTest.java jdbc:postgresql://127.0.0.1:PORT/DATABASE USER
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.core.BaseConnection;
import org.postgresql.util.PSQLException;

public class DriverTest {
    interface Case { void run() throws Exception; }

    static final Map<String, Case> cases = new LinkedHashMap<>();
    static final String ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s";
    static String url, user;
    static int tables = 0;

    static void test(String name, Case run) { cases.put(name, run); }
    static String table() { return "jdbc_" + tables++; }
    static Connection connect(String... options) throws SQLException {
        return DriverManager.getConnection(url + "?sslmode=disable&user=" + user
            + Arrays.stream(options).map(o -> "&" + o).collect(Collectors.joining()));
    }
    static void check(Object expected, Object got) {
        if (!Objects.equals(expected, got)) throw new AssertionError("expected " + expected + ", got " + got);
    }
    static String sqlState(Case run) throws Exception {
        try { run.run(); } catch (SQLException e) { return e.getSQLState(); }
        throw new AssertionError("no exception");
    }
    static void execute(Connection c, String sql) throws SQLException { try (Statement s = c.createStatement()) { s.execute(sql); } }
    static Object value(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            check(true, r.next());
            return r.getObject(1);
        }
    }

    static void types(Connection c) throws Exception {
        String t = table();
        execute(c, "CREATE TABLE " + t + "(i INTEGER, b BOOLEAN, r REAL, n NUMERIC, s TEXT, x BLOB, d DATE, tm TIME, ts TIMESTAMP, u UUID)");
        byte[] blob = new byte[256];
        for (int k = 0; k < 256; k++) blob[k] = (byte) k;
        UUID uuid = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + " VALUES (?,?,?,?,?,?,?,?,?,?)")) {
            for (int round = 0; round < 8; round++) {        // past prepareThreshold, where the driver turns to binary
                p.setLong(1, Long.MAX_VALUE - round);
                p.setBoolean(2, round % 2 == 0);
                p.setDouble(3, 0.1 + round);
                p.setBigDecimal(4, new BigDecimal("12.5"));
                p.setString(5, "größer ☃ " + round);
                p.setBytes(6, blob);
                p.setObject(7, java.time.LocalDate.of(2024, 2, 29));
                p.setObject(8, java.time.LocalTime.of(1, 2, 3));
                p.setObject(9, java.time.LocalDateTime.of(2024, 2, 29, 1, 2, 3));
                p.setObject(10, uuid);
                check(1, p.executeUpdate());
            }
            for (int k = 1; k <= 10; k++) p.setNull(k, Types.NULL);
            check(1, p.executeUpdate());
        }
        try (PreparedStatement p = c.prepareStatement("SELECT * FROM " + t + " ORDER BY rowid")) {
            for (int round = 0; round < 8; round++) {
                try (ResultSet r = p.executeQuery()) {
                    for (int row = 0; row < 8; row++) {
                        check(true, r.next());
                        check(Long.MAX_VALUE - row, r.getLong("i"));
                        check(row % 2 == 0, r.getBoolean("b"));
                        check(0.1 + row, r.getDouble("r"));
                        check(new BigDecimal("12.5"), r.getBigDecimal("n"));
                        check("größer ☃ " + row, r.getString("s"));
                        check(true, Arrays.equals(blob, r.getBytes("x")));
                        check(java.time.LocalDate.of(2024, 2, 29), r.getObject("d", java.time.LocalDate.class));
                        check(java.time.LocalTime.of(1, 2, 3), r.getObject("tm", java.time.LocalTime.class));
                        check(java.time.LocalDateTime.of(2024, 2, 29, 1, 2, 3), r.getObject("ts", java.time.LocalDateTime.class));
                        check(uuid, r.getObject("u"));
                    }
                    check(true, r.next());
                    for (int k = 1; k <= 10; k++) check(null, r.getObject(k));
                    check(false, r.next());
                }
            }
        }
    }

    static void define() {
        test("types", () -> { try (Connection c = connect()) { types(c); } });
        test("types in binary from the first execution", () -> { try (Connection c = connect("prepareThreshold=-1")) { types(c); } });
        test("types with the simple protocol", () -> {
            try (Connection c = connect("preferQueryMode=simple")) {
                check("x", value(c, "SELECT 'x'"));
                check(42L, value(c, "SELECT 42"));
            }
        });
        test("metadata of a result", () -> {
            try (Connection c = connect(); Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT 1 AS a, 'x' AS b")) {
                ResultSetMetaData m = r.getMetaData();
                check(2, m.getColumnCount());
                check("a", m.getColumnLabel(1));
                check(Types.BIGINT, m.getColumnType(1));
                check(Types.VARCHAR, m.getColumnType(2));
            }
        });
        test("product and version", () -> {
            try (Connection c = connect()) {
                check(true, c.getMetaData().getDatabaseMajorVersion() >= 10);
                check(true, c.isValid(5));
            }
        });
        test("commit and rollback", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER)");
                c.setAutoCommit(false);
                execute(c, "INSERT INTO " + t + " VALUES (1)");
                c.rollback();
                execute(c, "INSERT INTO " + t + " VALUES (2)");
                Savepoint s = c.setSavepoint();
                execute(c, "INSERT INTO " + t + " VALUES (3)");
                c.rollback(s);
                c.commit();
                c.setAutoCommit(true);
                check(2L, value(c, "SELECT sum(a) FROM " + t));
            }
        });
        test("isolation levels and read only", () -> {
            try (Connection c = connect()) {
                c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                check(Connection.TRANSACTION_SERIALIZABLE, c.getTransactionIsolation());
                c.setReadOnly(true);
                c.setAutoCommit(false);
                check("25006", sqlState(() -> execute(c, "CREATE TABLE no(a)")));
                c.rollback();
                c.setReadOnly(false);
                c.setAutoCommit(true);
            }
        });
        test("errors and recovery", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER PRIMARY KEY)");
                execute(c, "INSERT INTO " + t + " VALUES (1)");
                check("42703", sqlState(() -> execute(c, "SELECT absent")));
                check("42601", sqlState(() -> execute(c, "SELEC")));
                check("42P01", sqlState(() -> execute(c, "SELECT * FROM nowhere")));
                check("23505", sqlState(() -> execute(c, "INSERT INTO " + t + " VALUES (1)")));
                try {
                    execute(c, "SELECT absent");
                } catch (PSQLException e) {
                    check(8, e.getServerErrorMessage().getPosition());
                }
                check(1L, value(c, "SELECT 1"));
            }
        });
        test("an error in a transaction leaves it usable", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER)");
                c.setAutoCommit(false);
                execute(c, "INSERT INTO " + t + " VALUES (1)");
                check("42703", sqlState(() -> execute(c, "SELECT absent")));
                execute(c, "INSERT INTO " + t + " VALUES (2)");
                c.commit();
                check(2L, value(c, "SELECT count(*) FROM " + t));
                c.commit();
            }
        });
        test("batch", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER PRIMARY KEY, b TEXT)");
                try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + " VALUES (?, ?)")) {
                    for (int n = 0; n < 2000; n++) {
                        p.setInt(1, n);
                        p.setString(2, "row " + n);
                        p.addBatch();
                    }
                    check(2000, Arrays.stream(p.executeBatch()).sum());
                }
                try (Statement s = c.createStatement()) {
                    s.addBatch("UPDATE " + t + " SET b = 'x' WHERE a < 10");
                    s.addBatch("DELETE FROM " + t + " WHERE a >= 1990");
                    check("[10, 10]", Arrays.toString(s.executeBatch()));
                }
                check(1990L, value(c, "SELECT count(*) FROM " + t));
            }
        });
        test("a batch that fails", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER PRIMARY KEY)");
                c.setAutoCommit(false);
                try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + " VALUES (?)")) {
                    for (int n : new int[] {1, 2, 1}) {
                        p.setInt(1, n);
                        p.addBatch();
                    }
                    check("23505", sqlState(p::executeBatch));
                }
                c.rollback();
                check(0L, value(c, "SELECT count(*) FROM " + t));
                c.rollback();
            }
        });
        test("rewritten batch", () -> {
            try (Connection c = connect("reWriteBatchedInserts=true")) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER, b TEXT)");
                try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + "(a, b) VALUES (?, ?)")) {
                    for (int n = 0; n < 500; n++) {
                        p.setInt(1, n);
                        p.setString(2, "x");
                        p.addBatch();
                    }
                    p.executeBatch();
                }
                check(500L, value(c, "SELECT count(*) FROM " + t));
            }
        });
        test("generated keys", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(id INTEGER PRIMARY KEY, a TEXT)");
                try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + "(a) VALUES (?)", new String[] {"id"})) {
                    for (long n = 1; n <= 3; n++) {
                        p.setString(1, "x");
                        p.executeUpdate();
                        try (ResultSet k = p.getGeneratedKeys()) {
                            check(true, k.next());
                            check(n, k.getLong(1));
                        }
                    }
                }
                try (Statement s = c.createStatement()) {
                    s.executeUpdate("INSERT INTO " + t + "(a) VALUES ('y')", Statement.RETURN_GENERATED_KEYS);
                    try (ResultSet k = s.getGeneratedKeys()) {
                        check(true, k.next());
                        check(4L, k.getLong("id"));
                    }
                }
            }
        });
        test("fetch size reads in pieces", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                try (Statement s = c.createStatement()) {
                    s.setFetchSize(97);
                    long sum = 0;
                    try (ResultSet r = s.executeQuery("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000) SELECT n FROM s")) {
                        while (r.next()) sum += r.getLong(1);
                    }
                    check(5000L * 5001 / 2, sum);
                    try (ResultSet r = s.executeQuery("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s")) {
                        for (int n = 0; n < 300; n++) check(true, r.next());       // the rest is never computed
                    }
                }
                c.commit();
                check(1L, value(c, "SELECT 1"));
                c.commit();
            }
        });
        test("max rows", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.setMaxRows(5);
                try (ResultSet r = s.executeQuery("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s")) {
                    int seen = 0;
                    while (r.next()) seen++;
                    check(5, seen);
                }
                check(1L, value(c, "SELECT 1"));
            }
        });
        test("several statements and results", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                String t = table();
                check(false, s.execute("CREATE TABLE " + t + "(a INTEGER); INSERT INTO " + t + " VALUES (1),(2); SELECT a FROM " + t));
                check(false, s.getMoreResults());
                check(2, s.getUpdateCount());
                check(true, s.getMoreResults());
                check(true, s.getResultSet().next());
            }
        });
        test("copy manager", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER, b TEXT)");
                CopyManager m = new CopyManager((BaseConnection) c);
                String data = IntStream.range(0, 5000).mapToObj(n -> n + "\trow " + n + "\n").collect(Collectors.joining());
                check(5000L, m.copyIn("COPY " + t + " FROM STDIN", new StringReader(data)));
                StringWriter out = new StringWriter();
                check(5000L, m.copyOut("COPY " + t + " TO STDOUT", out));
                check(data, out.toString());
                check("22P04", sqlState(() -> m.copyIn("COPY " + t + " FROM STDIN", new StringReader("1\t2\t3\n"))));
                check(1L, value(c, "SELECT 1"));
            }
        });
        test("cancel", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                ScheduledExecutorService again = Executors.newSingleThreadScheduledExecutor();
                again.scheduleAtFixedRate(() -> { try { s.cancel(); } catch (SQLException e) { throw new RuntimeException(e); } },
                    50, 50, TimeUnit.MILLISECONDS);
                check("57014", sqlState(() -> s.execute(ENDLESS)));
                again.shutdown();
                check(true, again.awaitTermination(10, TimeUnit.SECONDS));
                // a cancel that was on its way may still hit the next statement
                for (int n = 0; ; n++) {
                    try {
                        check(1L, value(c, "SELECT 1"));
                        break;
                    } catch (SQLException e) {
                        check("57014", e.getSQLState());
                        check(true, n < 5);
                    }
                }
            }
        });
        test("query timeout", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                check("57014", sqlState(() -> s.execute(ENDLESS)));
                check(1L, value(c, "SELECT 1"));
            }
        });
        test("notifications", () -> {
            try (Connection c = connect(); Connection other = connect()) {
                execute(c, "LISTEN jdbc_news");
                execute(other, "NOTIFY jdbc_news, 'hello'");
                PGNotification[] got = c.unwrap(PGConnection.class).getNotifications(20000);
                check("hello", got[0].getParameter());
                check("jdbc_news", got[0].getName());
            }
        });
        test("warnings", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.execute("ROLLBACK");
                check("25P01", s.getWarnings().getSQLState());
            }
        });
        test("a prepared statement after a schema change", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(a INTEGER)");
                execute(c, "INSERT INTO " + t + " VALUES (1)");
                try (PreparedStatement p = c.prepareStatement("SELECT * FROM " + t)) {
                    for (int n = 0; n < 7; n++) p.executeQuery().close();
                    execute(c, "ALTER TABLE " + t + " ADD COLUMN b TEXT DEFAULT 'x'");
                    try (ResultSet r = p.executeQuery()) {           // outside a transaction the driver prepares anew
                        check(true, r.next());
                        check("x", r.getString(2));
                    }
                }
            }
        });
        test("large blob", () -> {
            try (Connection c = connect()) {
                String t = table();
                execute(c, "CREATE TABLE " + t + "(x BLOB)");
                byte[] blob = new byte[8 << 20];
                new Random(1).nextBytes(blob);
                try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + " VALUES (?)")) {
                    p.setBytes(1, blob);
                    p.executeUpdate();
                }
                try (PreparedStatement p = c.prepareStatement("SELECT x FROM " + t); ResultSet r = p.executeQuery()) {
                    check(true, r.next());
                    check(true, Arrays.equals(blob, r.getBytes(1)));
                }
            }
        });
        test("several connections", () -> {
            String t = table();
            try (Connection c = connect()) {
                execute(c, "CREATE TABLE " + t + "(n INTEGER)");
                execute(c, "INSERT INTO " + t + " VALUES (0)");
                ExecutorService pool = Executors.newFixedThreadPool(8);
                List<Future<?>> all = new ArrayList<>();
                for (int k = 0; k < 8; k++) all.add(pool.submit(() -> {
                    try (Connection w = connect(); PreparedStatement p = w.prepareStatement("UPDATE " + t + " SET n = n + ?")) {
                        for (int n = 0; n < 50; n++) { p.setInt(1, 1); p.executeUpdate(); }
                    }
                    return null;
                }));
                for (Future<?> f : all) f.get(60, TimeUnit.SECONDS);
                pool.shutdown();
                check(400L, value(c, "SELECT n FROM " + t));
            }
        });
    }

    public static void main(String[] arguments) {
        url = arguments[0];
        user = arguments[1];
        define();
        int failed = 0;
        for (Map.Entry<String, Case> one : cases.entrySet()) {
            try {
                one.getValue().run();
                System.out.println("ok " + one.getKey());
            } catch (Throwable e) {
                failed++;
                System.out.println("not ok " + one.getKey() + " - " + String.valueOf(e).split("\n")[0]);
                e.printStackTrace(System.out);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }
}
