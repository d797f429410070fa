/* transaction_world.h: gates and transactions of tables as core tests use them. */
#ifndef IP_TRANSACTION_WORLD_H
#define IP_TRANSACTION_WORLD_H

#include "table_world.h"
#include "transaction.h"

static ip_arena arena;

MAYBE_UNUSED static void begin(uint64_t mib) { OK(ip_arena_create(&arena, -1, mib << 20)); }

static void end(void) {
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    CHECK_EQ(word_of(&arena.header->heap_top), arena.heap);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

/* Waits until the gate is this thread's. */
static void acquire(const table *t) {
    ip_status status = ip_gate_acquire(&arena, &t->table->container, IP_NOW);
    while (status != IP_OK) {
        bool slept = false, ready = true;
        CHECK(status == IP_BUSY || status == IP_HELD);
        if (status == IP_HELD) ready = ip_gate_wait(&arena, &t->table->container, UINT64_MAX, &slept);
        status = ip_gate_acquire(&arena, &t->table->container, ready ? IP_PATIENT : IP_INHERIT);
    }
}

static void let_go(const table *t) { OK(ip_gate_release(&arena, &t->table->container)); }

static uint64_t start(const table *tables, unsigned n) {
    uint64_t record;
    ip_status status;
    for (unsigned i = 0; i < n; i++) acquire(&tables[i]);
    UNTIL_NOT_BUSY(status, ip_transaction_begin(&arena, &record));
    CHECK_EQ(status, IP_OK);
    for (unsigned i = 0; i < n; i++) {
        UNTIL_NOT_BUSY(status, ip_transaction_join(&arena, record, &tables[i].table->container));
        CHECK_EQ(status, IP_OK);
        CHECK(ip_transaction_mine(&arena, &tables[i].table->container));
    }
    return record;
}

static void finish(const table *tables, unsigned n, uint64_t record, bool commit) {
    ip_status status;
    if (commit) {
        UNTIL_NOT_BUSY(status, ip_transaction_commit(&arena, record, &tables->table->container));
        CHECK_EQ(status, IP_OK);
    }
    for (unsigned i = 0; i < n; i++) {
        UNTIL_NOT_BUSY(status, ip_transaction_settle(&arena, record, &tables[i].table->container));
        CHECK_EQ(status, IP_OK);
        CHECK(!ip_transaction_mine(&arena, &tables[i].table->container));
        let_go(&tables[i]);
    }
}

MAYBE_UNUSED static table number_table(uint64_t from, uint64_t to, uint64_t size) {
    table t = table_new(&arena);
    for (uint64_t i = from; i < to; i++) set_when(&t, i, i, size, IP_TABLE_ALWAYS, 0, 0);
    return t;
}

MAYBE_UNUSED static void set_handles(const table *t, uint64_t key, ip_id id, unsigned n, uint64_t size) {
    ip_handle_ref refs[IP_VALUE_HANDLES_MAX];
    ip_table_outcome outcome;
    stored_key k;
    fill_key(&k, key);
    for (unsigned i = 0; i < n; i++) refs[i] = (ip_handle_ref){id, 0};
    fill_message(value_bytes, size, key);
    ip_value v = {.kind = (uint8_t)key, .data = value_bytes, .size = size, .handles = refs, .n_handles = n};
    OK(ip_table_set(&arena, t->table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
}

#endif
