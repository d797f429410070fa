/* test_list_faults.c: kill a process at every fault point of every operation on a list: it was done or it was not. */
#include "list_world.h"
#include "trial.h"

#if defined(UNDER_TSAN) /* which sees nothing between processes, and takes long to fork */
enum { FIRST = 3, STRIDE = 40, RECOVERIES = 1 };
#elif defined(UNDER_ASAN)
enum { FIRST = 5, STRIDE = 17, RECOVERIES = 4 };
#else
enum { FIRST = 0, STRIDE = 1, RECOVERIES = 25 };
#endif

/* Tokens:  a100    append 100 bytes           i2,100  insert 100 bytes before index 2     s2,100  replace index 2
 *          A100 I2,100 S2,100  the same with two handles to another list
 *          d2 remove index 2   g2 read it     c clear      r3 keep the last three, in reverse      n20 append 20 of 1 byte
 *          x20 remove the first 20     ( begin a transaction    ) commit it    / roll it back
 * The value that the n-th token stores is number n. */
enum { ORPHAN = 1 }; /* what handles refer to is held by nobody but the list */

static const struct {
    const char *name, *before, *act;
    unsigned flags;
} scripts[] = {
    {"append the first", "", "a10", 0},
    {"append", "a10 a20", "a10 a600 a700", 0},
    {"append handles", "a10", "A10 A3000", 0},
    {"append, and grow", "n7 A30", "a10", 0},
    {"insert at the front", "a10 a20", "i0,10 i0,2000", 0},
    {"insert in the middle", "n6", "i2,10", 0},
    {"insert in the middle, with little room", "n40 n23", "i20,10", 0},
    {"insert in the middle, and grow", "n8", "i3,10", 0},
    {"insert here and there", "n11", "i3,10 i9,10 i0,10", 0},
    {"replace", "a10 A20 a2000", "s0,10 s1,10 s2,30 s0,3000", 0},
    {"replace by handles", "a10 A20", "S0,10 S1,1000", 0},
    {"replace handles that nobody holds", "a10 A20", "s1,10", ORPHAN},
    {"remove the last", "a10 A20 a2000", "d2 d1 d0", 0},
    {"remove the first", "a10 A20 a2000", "d0 d0 d0", 0},
    {"remove from the middle", "n8 A10 n8", "d4 d7 d7", 0},
    {"remove from the middle of a full array", "n16", "d5 d9", 0},
    {"remove, and shrink", "n64 x56", "d3", 0},
    {"remove, and shrink to where it wraps around", "n60 x50 n10 x12", "d0 a10", 0},
    {"remove handles that nobody holds", "a10 A10 A2000 a10", "d1 d1", ORPHAN},
    {"read", "A10 A2000", "g0 g1", 0},
    {"read handles that nobody holds", "A10 A2000", "g1 d1 g0 d0", ORPHAN},
    {"rearrange", "n3 A10 a2000", "r5", 0},
    {"rearrange, and leave some out", "n3 A10 a2000 n4 i2,10", "r3", 0},
    {"rearrange, and drop what nobody holds", "A10 A2000 n3", "r2", ORPHAN},
    {"rearrange to nothing, and go on", "a10 A20", "r0 a10", 0},
    {"clear", "a10 A20 a2000 A3000 n9 i4,10", "c", 0},
    {"clear, and drop what nobody holds", "a10 A20 a2000 A3000", "c", ORPHAN},
    {"clear and begin again", "a10 a1000 A10", "c a10 c a10", 0},
    {"commit nothing", "a10", "( )", 0},
    {"append in a transaction", "a10", "( a10 A10 a3000 )", 0},
    {"append, grow and roll back", "n7", "( a10 A10 a3000 /", 0},
    {"replace in a transaction", "a10 A20 a2000", "( s0,10 S2,30 s1,3000 s0,9 ) a10", 0},
    {"replace and roll back", "a10 A20 a2000", "( s0,10 S2,30 s1,3000 s0,9 / a10", 0},
    {"remove in a transaction", "n9 A10 n9 a2000 i3,10", "( d9 d0 d18 d4 )", 0},
    {"remove and roll back", "n9 A10 n9 a2000 i3,10", "( d10 d0 d18 d4 / d0", 0},
    {"remove what nobody holds in a transaction", "a10 A10 A2000", "( d1 s1,1 )", ORPHAN},
    {"remove what nobody holds and roll back", "a10 A10 A2000", "( d1 s1,1 / d1", ORPHAN},
    {"rearrange in a transaction", "n3 A10 a2000 a10", "( a10 r3 a10 r4 )", 0},
    {"rearrange and roll back", "n3 A10 a2000 a10", "( a10 r3 a10 r4 / a10", 0},
    {"clear in a transaction", "n4 A10 a2000 i2,10", "( c a10 c A10 )", 0},
    {"clear and roll back", "n4 A10 a2000 i2,10", "( c a10 c A10 / a10", 0},
    {"much in a transaction", "n30 i13,10", "( i9,100 d20 i25,10 d3 a10 x2 n2 d7 )", 0},
    {"much, and roll back", "n30 i13,10", "( i9,100 d20 i25,10 d3 a10 x2 n2 d7 /", 0},
};

enum { ITEMS_MAX = 100 };
typedef struct {
    uint64_t number, size;
    bool handles;
} item;
typedef struct {
    item items[ITEMS_MAX];
    unsigned n;
} contents;

static unsigned script;
static uint64_t record; /* of the transaction, in the actor */
static list l, inner;
static ip_handle_ref refs[2];

/* ---- what a list should hold ---- */

static void put_in(contents *c, uint64_t at, item it) {
    CHECK(c->n < ITEMS_MAX && at <= c->n);
    memmove(c->items + at + 1, c->items + at, (c->n - at) * sizeof *c->items);
    c->items[at] = it;
    c->n++;
}

static contents saved; /* what it was when the transaction began */
static bool within;

static void expect_token(contents *c, char token, uint64_t index, uint64_t size, uint64_t number) {
    bool handles = token < 'a';
    contents old = *c;
    switch (token) {
        case 'a': case 'A': put_in(c, c->n, (item){number, size, handles}); break;
        case 'i': case 'I': put_in(c, index, (item){number, size, handles}); break;
        case 's': case 'S': c->items[index] = (item){number, size, handles}; break;
        case 'n':
            for (uint64_t i = 0; i < size; i++) put_in(c, c->n, (item){number, 1, false});
            break;
        case 'd':
            c->n--;
            memmove(c->items + index, c->items + index + 1, (c->n - index) * sizeof *c->items);
            break;
        case 'x':
            c->n -= (unsigned)index;
            memmove(c->items, c->items + index, c->n * sizeof *c->items);
            break;
        case 'c': c->n = 0; break;
        case '(':
            saved = *c;
            within = true;
            break;
        case '/': *c = saved; /* fall through */
        case ')': within = false; break;
        case 'r':
            c->n = (unsigned)index;
            for (unsigned i = 0; i < index; i++) c->items[i] = old.items[old.n - 1 - i];
            break;
    }
}

static void run_token(char token, uint64_t index, uint64_t size, uint64_t number) {
    ip_value v = value_of(value_bytes, number, token == 'n' ? 1 : size);
    ip_handle_ref got[2];
    ip_value_out out = {.data = got_bytes, .room = VALUE_MAX, .handles = got, .handles_room = 2};
    uint64_t value, order[ITEMS_MAX];
    ip_container_state state;
    bool done;
    v.handles = refs;
    v.n_handles = token < 'a' ? 2 : 0;
    switch (token) {
        case 'a': case 'A': OK(ip_list_insert(&arena, l.list, IP_PATIENT, END, &v)); break;
        case 'i': case 'I': OK(ip_list_insert(&arena, l.list, IP_PATIENT, (int64_t)index, &v)); break;
        case 's': case 'S': OK(ip_list_set(&arena, l.list, IP_PATIENT, (int64_t)index, &v, NULL, &done)); break;
        case 'n':
            for (uint64_t i = 0; i < size; i++) OK(ip_list_insert(&arena, l.list, IP_PATIENT, END, &v));
            break;
        case 'd': case 'g':
            OK(token == 'd' ? ip_list_pop(&arena, l.list, IP_PATIENT, (int64_t)index, &out)
                            : ip_list_get(&arena, l.list, IP_PATIENT, (int64_t)index, &out));
            CHECK(value_is_whole(&out, &value));
            if (out.n_handles) CHECK(memcmp(got, refs, sizeof got) == 0);
            break;
        case 'x':
            for (uint64_t i = 0; i < index; i++) OK(ip_list_pop(&arena, l.list, IP_PATIENT, 0, NULL));
            break;
        case '(': record = begin_transaction(&l); break;
        case ')': case '/': end_transaction(&l, record, token == ')'); break;
        case 'c': OK(ip_list_clear(&arena, l.list, IP_PATIENT)); break;
        case 'r':
            state = look(&l);
            for (unsigned i = 0; i < index; i++) order[i] = state.count - 1 - i;
            OK(ip_list_rearrange(&arena, l.list, IP_PATIENT, state.shape, order, index));
            break;
    }
}

/* Runs, or (c) only models, up to `to` tokens of a script that begins with number `first`. Returns how many it has. */
static uint64_t each_token(const char *text, uint64_t first, uint64_t to, contents *c, bool count) {
    uint64_t n = 0;
    while (*text && n < to) {
        char token = *text++, *rest = (char *)text;
        uint64_t index = 0, size = 0;
        if (*text >= '0' && *text <= '9') index = size = strtoull(text, &rest, 10);
        if (*rest == ',') size = strtoull(rest + 1, &rest, 10);
        text = rest;
        while (*text == ' ') text++;
        if (c) {
            expect_token(c, token, index, size, first + n);
        } else {
            if (count) shared->put_tried = n + 1;
            run_token(token, index, size, first + n);
            if (count) shared->put_done = n + 1;
        }
        n++;
    }
    if (c && within) *c = saved; /* not committed */
    within = false;
    return n;
}

static bool holds(const contents *c) {
    ip_container_state state = look(&l);
    uint64_t index = 0, value;
    if (state.count != c->n) return false;
    for (unsigned n = 0; n < c->n; n++) {
        const item *it = &c->items[n];
        ip_handle_ref got[2];
        ip_value_out out = {.data = got_bytes, .room = VALUE_MAX, .handles = got, .handles_room = 2};
        OK(ip_list_next(&arena, l.list, IP_PATIENT, state.changes, &index, &out));
        CHECK(value_is_whole(&out, &value));
        if (value != legible(it->number, it->size) || out.size != it->size || out.n_handles != (it->handles ? 2u : 0u)) return false;
    }
    return true;
}

/* ---- trials ---- */

/* A transaction that was left behind is settled by who wants the gate. */
static void have_the_gate(void) {
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_gate_acquire(&arena, &l.list->container, IP_PATIENT));
    OK(status);
    UNTIL_NOT_BUSY(status, ip_gate_release(&arena, &l.list->container));
    OK(status);
}

static void prepare_script(void) {
    l = list_new(&arena);
    inner = list_new(&arena);
    refs[0] = refs[1] = (ip_handle_ref){inner.id, 0};
    append(&inner, 1, 50);
    append(&inner, 2, 5000);
    each_token(scripts[script].before, 1000, UINT64_MAX, NULL, false);
    if (scripts[script].flags & ORPHAN) OK(ip_object_release(&arena, inner.id, 0));
}

static void act_script(void) {
    arm();
    each_token(scripts[script].act, 2000, UINT64_MAX, NULL, true);
}

/* Handles on the inner list in transit, and whether it exists. */
static uint64_t inner_transit(bool *exists) {
    ip_object_info info;
    uint32_t index = inner.id.index;
    *exists = ip_object_next(&arena, &index, &info) == IP_OK && info.id.index == inner.id.index;
    return *exists ? info.transit[0] : 0;
}

static void verify_script(void) {
    bool orphan = scripts[script].flags & ORPHAN, exists;
    contents c = {.n = 0};
    uint64_t handles = 0, changes = look(&l).changes, number, size;
    OK(ip_list_check(&arena, l.list));
    uint64_t transit = inner_transit(&exists);
    each_token(scripts[script].before, 1000, UINT64_MAX, &c, false);
    each_token(scripts[script].act, 2000, shared->put_done, &c, false);
    if (!holds(&c)) { /* then the one that was begun is done */
        CHECK(shared->put_tried == shared->put_done + 1);
        c.n = 0;
        each_token(scripts[script].before, 1000, UINT64_MAX, &c, false);
        each_token(scripts[script].act, 2000, shared->put_tried, &c, false);
        CHECK(holds(&c));
    }
    for (unsigned i = 0; i < c.n; i++) handles += c.items[i].handles ? 2 : 0;
    CHECK(transit == handles || (handles == 0 && orphan) || word_of(&l.list->dropped.array)); /* what was dropped may still be there */
    if (!orphan || handles) CHECK(exists);
    for (uint64_t i = 20; i < 30; i++) OK(try_insert(&l, c.n / 2, i, i * 50)); /* it goes on working */
    transit = inner_transit(&exists);
    CHECK_EQ(transit, handles);
    OK(pop(&l, c.n / 2, &number, &size));
    CHECK_EQ(number, 29);
    OK(pop(&l, (int64_t)c.n / 2 + 8, &number, &size));
    CHECK_EQ(number, 20);
    CHECK(look(&l).changes >= changes + 12);
    OK(ip_list_check(&arena, l.list));
    OK(ip_object_release(&arena, l.id, 0));
    if (!orphan) {
        CHECK_EQ(inner_transit(&exists), 0);
        CHECK(exists);
        OK(get(&inner, 1, &number, &size));
        OK(ip_object_release(&arena, inner.id, 0));
    } else if (handles) { /* this process holds it, since it has read them */
        OK(ip_object_release(&arena, inner.id, 0));
    }
}

/* A member dies with, or lets go of, lists in lists that none but it holds. */
static void act_release(void) {
    ip_handle_ref ref = {l.id, 0};
    ip_value v = {.data = "", .size = 0, .handles = &ref, .n_handles = 1};
    OK(ip_object_release(&arena, l.id, 0));
    list outer = list_new(&arena);
    OK(ip_list_insert(&arena, outer.list, IP_PATIENT, END, &v));
    for (uint64_t i = 2; i < 12; i++) append(&outer, i, i * 90);
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
    operation op = {"let go of the last, with lists within", prepare_script, act_release, verify_script, false};
    kill_everywhere(&op, FIRST, STRIDE, RECOVERIES);
}

static void every_fault_point_of_lists_was_died_at(void) { CHECK_EQ(not_died_at("list", false), 0); }

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    find_points();
    recover_more = have_the_gate;
    RUN(every_operation);
    if (STRIDE == 1) RUN(every_fault_point_of_lists_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}
