/* test_table_faults.c: kill a process at every fault point of every operation on a table: it was done or it was not. */
#include "table_script.h"

#if defined(UNDER_TSAN) /* which sees nothing between processes, and takes long to fork */
enum { FIRST = 3, STRIDE = 40, RECOVERIES = 1 };
#elif defined(UNDER_ASAN)
enum { FIRST = 5, STRIDE = 17, RECOVERIES = 4 };
#else
enum { FIRST = 0, STRIDE = 1, RECOVERIES = 60 };
#endif

enum { ORPHAN = 1 }; /* what handles refer to is held by nobody but the table */

static const struct {
    const char *name, *before, *act;
    unsigned flags;
} scripts[] = {
    {"insert the first", "", "s1,10", 0},
    {"insert", "s1,10 s2,20", "s3,10 s4,10", 0},
    {"insert into a new slab", "s1,10 s2,10 s3,10 s4,10", "s5,10", 0},
    {"insert into a freed cell", "s1,10 s2,10 s3,10 s4,10 d2 d1", "s5,10 s6,10", 0},
    {"insert a large one", "s1,10", "s2,2000", 0},
    {"insert handles", "s1,10", "h2,10", 0},
    {"insert handles and a block", "s1,10", "h2,3000", 0},
    {"insert, and grow", "s1,10 s2,700 h3,10 s4,10 s5,10 s6,10", "s7,10", 0},
    {"insert, and close holes", "s1,10 s2,700 h3,10 s4,10 s5,10 s6,10 d1 d4", "s7,1000", 0},
    {"replace", "s1,10 s2,20 s3,10", "s2,25", 0},
    {"replace by another size", "s1,10 s2,20 s3,10", "s2,100 s2,20", 0},
    {"replace large by small, and back", "s1,1000 s2,20", "s1,10 s1,1200", 0},
    {"replace handles", "s1,10 h2,20", "h2,900 h2,10 s2,10", 0},
    {"replace handles that nobody holds", "s1,10 h2,20", "s2,10", ORPHAN},
    {"remove", "s1,10 s2,20 s3,10", "d2 d3 d1", 0},
    {"remove from full slabs", "s1,10 s2,10 s3,10 s4,10 s5,10 s6,10 s7,10 s8,10", "d2 d1 d3 d4 d5 d6 d8 d7", 0},
    {"remove blocks", "s1,10 s2,2000 s3,3000", "d2 d3", 0},
    {"remove handles", "h1,10 h2,2000", "d1 d2", 0},
    {"remove handles that nobody holds", "h1,10 h2,2000", "d1 d2", ORPHAN},
    {"remove the last", "s1,10 h2,20 s3,2000", "l l l", 0},
    {"read", "h1,10 h2,2000", "g1 g2", 0},
    {"read handles that nobody holds", "h1,10 h2,2000", "g1 d1 g2 d2", ORPHAN},
    {"clear", "s1,10 h2,20 s3,2000 h4,3000 s5,10 s6,100 s7,10 d5", "c", 0},
    {"clear, and drop what nobody holds", "s1,10 h2,20 s3,2000 h4,3000", "c", ORPHAN},
    {"clear and begin again", "s1,10 s2,1000 h3,10", "c s4,10 c s5,10", 0},
};

static unsigned script;
static table t;

/* ---- trials ---- */

static void prepare_script(void) {
    t = table_new(&arena);
    make_inner();
    each_token(&t, scripts[script].before, 1000, UINT64_MAX, NULL, false);
    if (scripts[script].flags & ORPHAN) OK(ip_object_release(&arena, inner.id, 0));
}

static void act_script(void) {
    arm();
    each_token(&t, scripts[script].act, 2000, UINT64_MAX, NULL, true);
}

static void verify_script(void) {
    bool orphan = scripts[script].flags & ORPHAN, exists;
    contents c = {.n = 0};
    uint64_t handles = 0, changes = look(&t).changes;
    OK(ip_table_check(&arena, t.table));
    uint64_t transit = inner_transit(&exists);
    each_token(&t, scripts[script].before, 1000, UINT64_MAX, &c, false);
    each_token(&t, scripts[script].act, 2000, shared->put_done, &c, false);
    if (!holds(&t, &c)) { /* then the one that was begun is done */
        CHECK(shared->put_tried == shared->put_done + 1);
        c.n = 0;
        each_token(&t, scripts[script].before, 1000, UINT64_MAX, &c, false);
        each_token(&t, scripts[script].act, 2000, shared->put_tried, &c, false);
        CHECK(holds(&t, &c));
    }
    for (unsigned i = 0; i < c.n; i++) handles += c.pairs[i].handles ? 2 : 0;
    CHECK(transit == handles || (handles == 0 && orphan) || word_of(&t.table->dropped.arrays)); /* what was cleared may still be there */
    if (!orphan || handles) CHECK(exists);
    for (uint64_t i = 20; i < 30; i++) set_when(&t, i, i, i * 50, IP_TABLE_ALWAYS, 0, 0); /* it goes on working */
    transit = inner_transit(&exists);
    CHECK_EQ(transit, handles);
    uint64_t key, value, size;
    OK(pop_last(&t, &key, &value, &size));
    CHECK_EQ(key, 29);
    OK(pop(&t, 20, &value, &size));
    CHECK_EQ(value, 20);
    CHECK(look(&t).changes >= changes + 12);
    OK(ip_table_check(&arena, t.table));
    OK(ip_object_release(&arena, t.id, 0));
    if (!orphan) {
        CHECK_EQ(inner_transit(&exists), 0);
        CHECK(exists);
        OK(get(&inner, 2, &value, &size));
        OK(ip_object_release(&arena, inner.id, 0));
    } else if (handles) { /* this process holds it, since it has read them */
        OK(ip_object_release(&arena, inner.id, 0));
    }
}

/* A member dies with, or lets go of, tables in tables that none but it holds. */
static void act_release(void) {
    ip_handle_ref ref = {t.id, 0};
    stored_key k = key_of(1);
    ip_table_outcome outcome;
    OK(ip_object_release(&arena, t.id, 0));
    table outer = table_new(&arena);
    ip_value v = {.data = "", .size = 0, .handles = &ref, .n_handles = 1};
    OK(ip_table_set(&arena, outer.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
    for (uint64_t i = 2; i < 12; i++) set_when(&outer, i, i, i * 90, IP_TABLE_ALWAYS, 0, 0);
    arm();
    OK(ip_object_release(&arena, outer.id, 0));
}

static void every_operation(void) {
    printf("\n");
    for (script = 0; script < sizeof scripts / sizeof *scripts; script++) {
        operation op = {scripts[script].name, prepare_script, act_script, verify_script, false};
        kill_everywhere(&op, FIRST, STRIDE, RECOVERIES);
    }
    for (script = 0; strcmp(scripts[script].name, "clear") != 0;) script++;
    operation op = {"let go of the last, with tables within", prepare_script, act_release, verify_script, false};
    kill_everywhere(&op, FIRST, STRIDE, RECOVERIES);
}

static void every_fault_point_of_tables_was_died_at(void) {
    CHECK_EQ(not_died_at("cell container table", false), 0);
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    find_points();
    RUN(every_operation);
    if (STRIDE == 1) RUN(every_fault_point_of_tables_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}
