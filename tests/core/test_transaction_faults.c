/* test_transaction_faults.c: kill a process at every fault point of a transaction of two tables: all of it was done, or nothing. */
#include "table_script.h"

#if defined(UNDER_TSAN) /* which sees nothing between processes, and takes long to fork */
enum { FIRST = 3, STRIDE = 60, RECOVERIES = 1 };
#elif defined(UNDER_ASAN)
enum { FIRST = 5, STRIDE = 29, RECOVERIES = 6 };
#else
enum { FIRST = 0, STRIDE = 1, RECOVERIES = 80 };
#endif

enum {
    ORPHAN = 1,  /* what handles refer to is held by nobody but the tables */
    UNDO = 2,    /* it is not committed */
    OUTSIDE = 4, /* this process has taken the gates before, once more */
};

static const struct {
    const char *name, *before[2], *act[2]; /* scripts as of table_script.h, for either table */
    unsigned flags;
} scripts[] = {
    {"nothing", {"s1,10", ""}, {"", ""}, 0},
    {"insert", {"s1,10 s2,20", ""}, {"s3,10 s4,10", "s1,2000"}, 0},
    {"insert, undone", {"s1,10 s2,20", ""}, {"s3,10 s4,10", "s1,2000"}, UNDO},
    {"insert handles", {"s1,10", "s1,10"}, {"h2,10 h3,3000", "h3,10"}, 0},
    {"insert handles, undone", {"s1,10", "s1,10"}, {"h2,10 h3,3000", "h3,10"}, UNDO},
    {"insert, and grow", {"s1,10 s2,700 h3,10 s4,10 s5,10 s6,10", ""}, {"s7,10", "s1,10"}, 0},
    {"insert, and grow with holes, undone", {"s1,10 s2,700 h3,10 s4,10 s5,10 s6,10 d1 d4", ""}, {"d5 s7,10 s5,10", "s1,10"}, UNDO},
    {"remove, and grow with holes", {"s1,10 s2,700 h3,10 s4,10 s5,10 s6,10 d1 d4", ""}, {"d6 s7,10 s6,10", "s1,10"}, 0},
    {"replace", {"s1,10 s2,20 s3,1000", "s1,10"}, {"s2,25 s3,1100 s1,900", "s1,3000 s1,20"}, 0},
    {"replace, undone", {"s1,10 s2,20 s3,1000", "s1,10"}, {"s2,25 s3,1100 s1,900", "s1,3000 s1,20"}, UNDO},
    {"replace handles", {"h1,10 s2,20", "h2,2000"}, {"s1,20 h2,20", "h2,10 h2,900"}, 0},
    {"replace handles, undone", {"h1,10 s2,20", "h2,2000"}, {"s1,20 h2,20", "h2,10 h2,900"}, UNDO},
    {"replace handles that nobody holds", {"h1,10", "h2,2000"}, {"s1,20", "s2,10"}, ORPHAN},
    {"replace handles that nobody holds, undone", {"h1,10", "h2,2000"}, {"s1,20", "s2,10"}, ORPHAN | UNDO},
    {"remove", {"s1,10 s2,20 s3,2000", "h1,10 s2,3000"}, {"d2 d3 d1", "d1"}, 0},
    {"remove, undone", {"s1,10 s2,20 s3,2000", "h1,10 s2,3000"}, {"d2 d3 d1", "d1"}, UNDO},
    {"remove the last", {"s1,10 h2,20 s3,2000", "s1,10"}, {"l l s5,30", "l"}, 0},
    {"remove the last, undone", {"s1,10 h2,20 s3,2000", "s1,10"}, {"l l s5,30", "l"}, UNDO},
    {"clear", {"s1,10 h2,20 s3,2000 h4,3000 s5,10 d1", "s1,10"}, {"c s1,10", "c"}, 0},
    {"clear, undone", {"s1,10 h2,20 s3,2000 h4,3000 s5,10 d1", "s1,10"}, {"c s1,10 h6,10 c", "c"}, UNDO},
    {"clear what nobody holds", {"s1,10 h2,20 h4,3000", "h1,10"}, {"c", "c s2,1000"}, ORPHAN},
    {"clear what nobody holds, undone", {"s1,10 h2,20 h4,3000", "h1,10"}, {"c", "c s2,1000"}, ORPHAN | UNDO},
    {"read", {"s1,10 h2,20", "s1,1000"}, {"g1 g2", "g1"}, OUTSIDE},
    {"a long one", {"s1,10 s2,10", "s1,10"}, {"s3,10 s3,20 s3,30 s3,40 s3,50 d3 s3,10 d1 s1,20 d2 s2,20 s4,10 s5,10 s6,10 s7,10 d3 s8,40", "s2,10"}, OUTSIDE},
    {"a long one, undone", {"s1,10 s2,10", "s1,10"}, {"s3,10 s3,20 s3,30 s3,40 s3,50 d3 s3,10 d1 s1,20 d2 s2,20 s4,10 s5,10 s6,10 s7,10 d3 s8,40", "s2,10"}, UNDO | OUTSIDE},
};

static unsigned script;
static table t[2];
enum { BEGUN = 1, COMMITTING, COMMITTED }; /* shared->step */

static void get_gate(const table *which) { OK(ip_gate_acquire(&arena, &which->table->container, IP_INHERIT)); }
static void drop_gate(const table *which) { OK(ip_gate_release(&arena, &which->table->container)); }

/* Whoever recovers takes over the gates, which settles. */
static void settle_both(void) {
    for (int i = 0; i < 2; i++) {
        get_gate(&t[i]);
        drop_gate(&t[i]);
    }
}

static void prepare(void) {
    make_inner();
    for (int i = 0; i < 2; i++) {
        t[i] = table_new(&arena);
        each_token(&t[i], scripts[script].before[i], 1000, UINT64_MAX, NULL, false);
    }
    if (scripts[script].flags & ORPHAN) OK(ip_object_release(&arena, inner.id, 0));
    recover_more = settle_both;
}

static uint64_t begin_with(const table *tables, unsigned n) {
    uint64_t record;
    for (unsigned i = 0; i < n; i++) get_gate(&tables[i]);
    shared->step = BEGUN;
    OK(ip_transaction_begin(&arena, &record));
    for (unsigned i = 0; i < n; i++) OK(ip_transaction_join(&arena, record, &tables[i].table->container));
    return record;
}

static void act(void) {
    unsigned flags = scripts[script].flags;
    if (flags & OUTSIDE) get_gate(&t[0]), get_gate(&t[1]);
    arm();
    uint64_t record = begin_with(t, 2);
    for (int i = 0; i < 2; i++) each_token(&t[i], scripts[script].act[i], 2000, UINT64_MAX, NULL, false);
    if (!(flags & UNDO)) {
        shared->step = COMMITTING;
        ip_status status;
        UNTIL_NOT_BUSY(status, ip_transaction_commit(&arena, record, &t[0].table->container));
        OK(status);
        shared->step = COMMITTED;
    }
    for (int i = 0; i < 2; i++) {
        OK(ip_transaction_settle(&arena, record, &t[i].table->container));
        drop_gate(&t[i]);
    }
    if (flags & OUTSIDE) drop_gate(&t[1]), drop_gate(&t[0]);
}

static void expect(contents *c, int which, bool after) {
    c->n = 0;
    each_token(&t[which], scripts[script].before[which], 1000, UINT64_MAX, c, false);
    if (after) each_token(&t[which], scripts[script].act[which], 2000, UINT64_MAX, c, false);
}

static void verify(void) {
    bool orphan = scripts[script].flags & ORPHAN, exists, done[2];
    contents c[2];
    uint64_t handles = 0, key, value, size;
    recover_more = NULL;
    for (int i = 0; i < 2; i++) {
        OK(ip_table_check(&arena, t[i].table));
        CHECK_EQ(word_of(&t[i].table->container.transaction), 0);
        CHECK_EQ(word_of(&t[i].table->container.log), 0);
        expect(&c[i], i, true);
        done[i] = shared->step >= COMMITTING && holds(&t[i], &c[i]);
        if (done[i]) continue;
        expect(&c[i], i, false);
        CHECK(holds(&t[i], &c[i]));
    }
    CHECK_EQ(done[0], done[1]);
    if (shared->step == COMMITTED) CHECK(done[0]);
    for (int i = 0; i < 2; i++)
        for (unsigned j = 0; j < c[i].n; j++) handles += c[i].pairs[j].handles ? 2 : 0;
    CHECK_EQ(inner_transit(&exists), handles);
    CHECK_EQ(exists, !orphan || handles);
    for (int i = 0; i < 2; i++) { /* it goes on working */
        for (uint64_t j = 20; j < 30; j++) set_when(&t[i], j, j, j * 50, IP_TABLE_ALWAYS, 0, 0);
        OK(pop_last(&t[i], &key, &value, &size));
        CHECK_EQ(key, 29);
        OK(ip_table_check(&arena, t[i].table));
    }
    uint64_t record = begin_with(t, 2);
    for (int i = 0; i < 2; i++) {
        OK(ip_table_clear(&arena, t[i].table, IP_PATIENT));
        OK(ip_transaction_settle(&arena, record, &t[i].table->container));
        drop_gate(&t[i]);
        OK(get(&t[i], 28, &value, &size));
        OK(ip_object_release(&arena, t[i].id, 0));
    }
    if (!orphan || handles) OK(ip_object_release(&arena, inner.id, 0)); /* an orphan is held by who has read the handles */
}

/* A container is let go of by all in the middle of a transaction, in which another one is too. */
static void act_let_go(void) {
    table mine[2] = {t[0], table_new(&arena)};
    uint64_t random = 1;
    for (uint64_t i = 0; i < 30; i++) set_when(&mine[1], i, i, next_random(&random) % 5 ? i * 3 : i * 100, IP_TABLE_ALWAYS, 0, 0);
    each_token(&mine[1], "h31,10 h32,2000", 1, UINT64_MAX, NULL, false);
    uint64_t record = begin_with(mine, 2);
    each_token(&mine[1], "d1 d32 s31,100 h33,100 h34,3000 c h1,10", 1, UINT64_MAX, NULL, false);
    each_token(&t[0], scripts[script].act[0], 2000, UINT64_MAX, NULL, false);
    arm();
    OK(ip_object_release(&arena, mine[1].id, 0));
    OK(ip_transaction_settle(&arena, record, &t[0].table->container));
    drop_gate(&t[0]);
}

static void every_transaction(void) {
    printf("\n");
    for (script = 0; script < sizeof scripts / sizeof *scripts; script++) {
        operation op = {scripts[script].name, prepare, act, verify, false};
        kill_everywhere(&op, FIRST, STRIDE, RECOVERIES);
    }
    for (script = 0; strcmp(scripts[script].name, "remove, undone") != 0;) script++;
    operation op = {"let go of one in the middle", prepare, act_let_go, verify, false};
    kill_everywhere(&op, FIRST, STRIDE, RECOVERIES);
}

static void every_fault_point_of_transactions_was_died_at(void) { CHECK_EQ(not_died_at("gate transaction", false), 0); }

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    find_points();
    RUN(every_transaction);
    if (STRIDE == 1) RUN(every_fault_point_of_transactions_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}
