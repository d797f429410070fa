/* test_list_damage.c: change any byte of a list: each operation says that it is damaged or gives the right answer. */
#include "list_world.h"

static ip_arena arena;

#include "damage.h"

static list l, inner;
static int victims; /* members that died in a change */
static bool in_a_transaction; /* or in one of these */

enum { ITEMS = 30, ITEMS_MAX = 100 }; /* the last two of them, a small one and a large one, carry handles */
static uint64_t size_of(uint64_t number) {
    return number == ITEMS - 2 ? 20 : number == ITEMS - 1 ? 900 : number % 9 == 4 ? 700 + number : number * 5 % 120;
}
static bool carries(uint64_t number) { return number == ITEMS - 2 || number == ITEMS - 1; }

static uint64_t model[ITEMS_MAX], count; /* the numbers of the items */

static void model_insert(uint64_t index, uint64_t number) {
    memmove(model + index + 1, model + index, (count - index) * sizeof *model);
    model[index] = number;
    count++;
}

static void model_remove(uint64_t index) {
    count--;
    memmove(model + index, model + index + 1, (count - index) * sizeof *model);
}

static ip_status insert(uint64_t index, uint64_t number) {
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    ip_value v = value_of(value_bytes, number, size_of(number));
    v.handles = refs;
    v.n_handles = carries(number) ? 2 : 0;
    ip_status status = ip_list_insert(&arena, l.list, IP_PATIENT, (int64_t)index, &v);
    if (status == IP_OK) model_insert(index, number);
    return status;
}

static void build(void) {
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    l = list_new(&arena);
    inner = list_new(&arena);
    append(&inner, 1, 30);
    count = 0;
    for (uint64_t i = 0; i < ITEMS; i++) OK(insert(i * 7 % (count + 1), i));
    OK(insert(3, 50));
    OK(ip_list_pop(&arena, l.list, IP_PATIENT, 3, NULL)); /* the gap is in the middle, and a cell is free */
    model_remove(3);
}

/* ---- in the child ---- */

static ip_handle_ref got[2];
static ip_value_out new_out(void) { return (ip_value_out){.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2}; }

static bool value_is_right(const ip_value_out *out, uint64_t number) {
    uint64_t value;
    if (out->size != size_of(number) || !value_is_whole(out, &value) || value != legible(number, out->size)) return false;
    if (out->n_handles != (carries(number) ? 2u : 0u)) return false;
    return !carries(number) || (got[1].id.index == inner.id.index && got[1].id.generation == inner.id.generation);
}

static void read_all(void) {
    ip_container_state state;
    uint64_t index = 0;
    ip_status status;
    for (uint64_t i = 0; i < count + 3; i++) {
        ip_value_out out = new_out();
        int64_t either = i % 2 || i >= count ? (int64_t)i : (int64_t)i - (int64_t)count;
        if (ANSWERS(ip_list_get(&arena, l.list, IP_PATIENT, either, &out), i < count ? IP_OK : IP_AGAIN) && i < count)
            RIGHT(value_is_right(&out, model[i]));
    }
    if (!FINE(ip_container_look(&arena, &l.list->container, IP_PATIENT, &state))) return;
    RIGHT(state.count == count);
    for (;;) {
        ip_value_out out = new_out();
        status = ip_list_next(&arena, l.list, IP_PATIENT, state.changes, &index, &out);
        if (status != IP_OK) break;
        RIGHT(index <= count && value_is_right(&out, model[index - 1]));
    }
    if (ANSWERS(status, IP_EOF)) RIGHT(index == count);
    ANSWERS(ip_list_check(&arena, l.list), IP_OK);
}

/* An error of what takes items out may have come before or after the change: indexes are certain only without one. */
static void change_all(void) {
    static uint64_t order[ITEMS_MAX], old[ITEMS_MAX];
    ip_container_state state;
    bool done;
    for (uint64_t i = 0; i < count; i++) {
        if (carries(model[i])) continue;
        ip_value was = value_of(old_bytes, model[i], size_of(model[i])), v = value_of(value_bytes, i + 40, size_of(i + 40));
        if (FINE(ip_list_set(&arena, l.list, IP_PATIENT, (int64_t)i, &v, i % 3 ? &was : NULL, &done))) RIGHT(done);
        if (done) model[i] = i + 40;
    }
    for (uint64_t i = 0; i < 30; i++) FINE(insert(i * 11 % count, 40 + i)); /* grows on the way */
    if (FINE(ip_container_look(&arena, &l.list->container, IP_PATIENT, &state))) {
        for (uint64_t i = 0; i < count; i++) order[i] = count - 1 - i;
        if (FINE(ip_list_rearrange(&arena, l.list, IP_PATIENT, state.shape, order, count - 7))) {
            memcpy(old, model, sizeof old);
            count -= 7;
            for (uint64_t i = 0; i < count; i++) model[i] = old[order[i]];
        }
    }
    while (count > 8) {
        ip_value_out out = new_out();
        uint64_t i = count * 5 % 3 ? count * 5 % count : count - 1;
        bool into = count % 4;
        if (FINE(ip_list_pop(&arena, l.list, IP_PATIENT, (int64_t)i, into ? &out : NULL)) && into && !corrupt) RIGHT(value_is_right(&out, model[i]));
        model_remove(i);
    }
}

/* The transaction that was left behind is undone. */
static bool have_the_gate(void) {
    ip_container *c = &l.list->container;
    return FINE(ip_gate_acquire(&arena, c, IP_PATIENT)) && FINE(ip_gate_release(&arena, c));
}

static void use_everything(unsigned how) {
    uint32_t buried;
    uint64_t as_built[ITEMS_MAX], count_as_built = count;
    memcpy(as_built, model, sizeof model);
    if (victims) FINE(ip_member_reap(&arena, &buried));
    bool usable = !in_a_transaction || have_the_gate(); /* else it stays locked */
    if (how % 4 != 3 && usable) read_all();
    if (how % 4 < 2 && usable) change_all();
    if (how % 4 == 1 && usable && FINE(ip_list_clear(&arena, l.list, IP_PATIENT))) {
        ip_container_state state;
        if (FINE(ip_container_look(&arena, &l.list->container, IP_PATIENT, &state))) RIGHT(state.count == 0);
    }
    FINE(ip_object_release(&arena, l.id, 0));
    FINE(ip_object_release(&arena, inner.id, 0));
    leave_nothing();
    memcpy(model, as_built, sizeof model);
    count = count_as_built;
}

/* ---- the changes ---- */

static void damage_the_heap(uint64_t stride) {
    begin_damage(use_everything);
    try_all_of_the_heap(stride);
    end_damage();
}

static void any_changed_byte_is_noticed_or_harmless(void) {
    build();
    damage_the_heap(STRIDE);
}

static void die_when_changed(const char *step) {
    if (strcmp(step, "container.changed") == 0) kill(getpid(), SIGKILL);
}

/* The same when a change is to be rolled back: a member died just before it would have published. */
static void nor_does_it_mislead_a_rollback(void) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        ip_fault_hook = die_when_changed;
        ip_list_pop(&arena, l.list, IP_PATIENT, 9, NULL);
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    CHECK(word_of(&arena.header->journal.count) > 2);
    victims = 1;
    damage_the_heap(3 * STRIDE);
}

/* And when a transaction is to be rolled back, whose log has all that there is. */
static void nor_an_undo(void) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        uint64_t order[] = {20, 3, 4, 11, 0};
        begin_transaction(&l);
        OK(try_set(&l, 4, 1, 30));
        OK(try_insert(&l, 20, 2, 1000));
        OK(ip_list_pop(&arena, l.list, IP_PATIENT, 7, NULL));
        OK(ip_list_rearrange(&arena, l.list, IP_PATIENT, look(&l).shape, order, 5));
        OK(ip_list_pop(&arena, l.list, IP_PATIENT, 1, NULL));
        OK(ip_list_clear(&arena, l.list, IP_PATIENT));
        append(&l, 5, 50);
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    victims = 1;
    in_a_transaction = true;
    damage_the_heap(STRIDE);
}

int main(void) {
    RUN(any_changed_byte_is_noticed_or_harmless);
    RUN(nor_does_it_mislead_a_rollback);
    RUN(nor_an_undo);
    return 0;
}
