/* list_model.h: random operations on a list, and on a plain array that tells what the list should hold. */
#ifndef IP_LIST_MODEL_H
#define IP_LIST_MODEL_H

#include "list_world.h"

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
enum { STEPS = 20000, MANY = 30000, CHECK_EVERY = 1009 };
#else
enum { STEPS = 200000, MANY = 100000, CHECK_EVERY = 5003 };
#endif

static ip_arena arena;

MAYBE_UNUSED static void begin(uint64_t mib) { OK(ip_arena_create(&arena, -1, mib << 20)); }

MAYBE_UNUSED static void end(void) {
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    CHECK_EQ(word_of(&arena.header->heap_top), arena.heap);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

MAYBE_UNUSED static uint64_t transit(ip_id id) {
    ip_object_info info;
    uint32_t index = id.index;
    OK(ip_object_next(&arena, &index, &info));
    CHECK(info.id.index == id.index && info.id.generation == id.generation);
    return info.transit[0];
}

MAYBE_UNUSED static bool exists(ip_id id) {
    int kind;
    ip_object *object;
    ip_status status = ip_object_find(&arena, id, &kind, &object);
    CHECK(status == IP_OK || status == IP_FREED);
    return status == IP_OK;
}

enum { ITEMS = 3000 };
typedef struct {
    uint64_t number, size;
} item;
static item model[ITEMS], before[ITEMS];
static uint64_t count;

static void model_insert(uint64_t index, item it) {
    memmove(model + index + 1, model + index, (count - index) * sizeof *model);
    model[index] = it;
    count++;
}

static void model_remove(uint64_t index) {
    count--;
    memmove(model + index, model + index + 1, (count - index) * sizeof *model);
}

static bool is_item(uint64_t index, uint64_t number, uint64_t size) {
    return model[index].size == size && legible(model[index].number, size) == number;
}

static uint64_t some_size(uint64_t *random) {
    uint64_t r = next_random(random);
    return r % 50 == 0 ? r / 50 % 5000 : r / 50 % (r % 7 ? 60 : 600);
}

static void compare(const list *l) {
    uint64_t index = 0, number, size;
    ip_container_state state = look(l);
    ip_status status;
    CHECK_EQ(state.count, count);
    while ((status = next_item(l, state.changes, &index, &number, &size)) == IP_OK)
        CHECK(index <= count && is_item(index - 1, number, size));
    CHECK_EQ(status, IP_EOF);
    CHECK_EQ(index, count);
    OK(ip_list_check(&arena, l->list));
    OK(ip_heap_check(&arena));
}

/* An index as a caller may give it: one that is there, mostly, from either end. */
static int64_t some_index(uint64_t *random, uint64_t *resolved, bool *there) {
    uint64_t r = next_random(random);
    int64_t index = r % 4 == 0 ? 0 : r % 4 == 1 ? -1 : (int64_t)(r / 4 % (2 * count + 7)) - (int64_t)count - 3;
    int64_t from_start = index < 0 ? index + (int64_t)count : index;
    *there = from_start >= 0 && from_start < (int64_t)count;
    *resolved = *there ? (uint64_t)from_start : from_start < 0 ? 0 : count;
    return index;
}

static void rearrange_at_random(const list *l, uint64_t *random) {
    static uint64_t order[ITEMS];
    uint64_t n = next_random(random) % 3 ? count : next_random(random) % (count + 1), shape = look(l).shape;
    for (uint64_t i = 0; i < count; i++) order[i] = i;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = i + next_random(random) % (count - i), o = order[i];
        order[i] = order[j];
        order[j] = o;
    }
    CHECK_EQ(ip_list_rearrange(&arena, l->list, IP_PATIENT, shape + 1, order, n), IP_AGAIN);
    if (n > 1) {
        uint64_t last = order[n - 1];
        order[n - 1] = order[0];
        CHECK_EQ(ip_list_rearrange(&arena, l->list, IP_PATIENT, shape, order, n), IP_TOO_LONG);
        order[n - 1] = count;
        CHECK_EQ(ip_list_rearrange(&arena, l->list, IP_PATIENT, shape, order, n), IP_TOO_LONG);
        order[n - 1] = last;
    }
    OK(ip_list_rearrange(&arena, l->list, IP_PATIENT, shape, order, n));
    memcpy(before, model, sizeof model);
    for (uint64_t i = 0; i < n; i++) model[i] = before[order[i]];
    count = n;
}

static void random_step(const list *l, uint64_t step, uint64_t *random) {
    uint64_t i, number, size = some_size(random), changes = look(l).changes, shape = look(l).shape;
    bool there, grow = step / 4000 % 2 == 0;
    int64_t index = some_index(random, &i, &there);
    ip_status status;
    switch (next_random(random) % 100) {
        case 0:
            if (next_random(random) % 300) return;
            OK(ip_list_clear(&arena, l->list, IP_PATIENT));
            count = 0;
            return;
        case 1:
            if (next_random(random) % 10 == 0) rearrange_at_random(l, random);
            return;
        case 2 ... 20:
            CHECK_EQ(try_set(l, index, step, size), there ? IP_OK : IP_AGAIN);
            if (there) model[i] = (item){step, size};
            CHECK_EQ(look(l).changes, changes + there);
            CHECK_EQ(look(l).shape, shape);
            return;
        case 21 ... 30:
            if (!there) return;
            CHECK(!exchange(l, index, model[i].number + 1, model[i].size, step, size));
            CHECK(!exchange(l, index, model[i].number, model[i].size + 1, step, size));
            CHECK_EQ(look(l).changes, changes);
            CHECK(exchange(l, index, model[i].number, model[i].size, step, size));
            model[i] = (item){step, size};
            return;
        case 31 ... 50:
            CHECK_EQ(get(l, index, &number, &size), there ? IP_OK : IP_AGAIN);
            if (there) CHECK(is_item(i, number, size));
            CHECK_EQ(look(l).changes, changes);
            return;
        case 51 ... 70:
            if (grow && count == ITEMS) return;
            if (grow) {
                OK(try_insert(l, index, step, size));
                model_insert(i, (item){step, size});
                break;
            } /* fall through */
        case 71 ... 80:
            status = pop(l, index, &number, &size);
            CHECK_EQ(status, there ? IP_OK : IP_AGAIN);
            if (!there) return;
            CHECK(is_item(i, number, size));
            model_remove(i);
            break;
        default:
            if (count == ITEMS) return;
            OK(try_insert(l, END, step, size));
            model_insert(count, (item){step, size});
    }
    CHECK_EQ(look(l).changes, changes + 1);
    CHECK_EQ(look(l).shape, shape + 1);
    CHECK_EQ(look(l).count, count);
}

/* transactions: one in so many steps begins one, which ends, either way, after thirty or so. */
MAYBE_UNUSED static void run_model(uint64_t steps, uint64_t transactions) {
    static item saved[ITEMS];
    uint64_t random = 7, most = 0, record = 0, saved_count = 0, ends = 0;
    begin(64);
    list l = list_new(&arena);
    count = 0;
    for (uint64_t step = 1; step <= steps || record; step++) {
        if (transactions && !record && next_random(&random) % transactions == 0) {
            record = begin_transaction(&l);
            memcpy(saved, model, sizeof model);
            saved_count = count;
            ends = step + next_random(&random) % 60;
        }
        random_step(&l, step, &random);
        if (step % CHECK_EVERY == 0) compare(&l);
        if (count > most) most = count;
        if (!record || step < ends) continue;
        bool commit = next_random(&random) % 2;
        if (step % 7 == 0) compare(&l);
        end_transaction(&l, record, commit);
        record = 0;
        if (!commit) {
            memcpy(model, saved, sizeof model);
            count = saved_count;
        }
        if (step % 7 == 0) compare(&l);
    }
    compare(&l);
    printf(" up to %llu items ...", (unsigned long long)most);
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

#endif
