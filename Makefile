# Payring. `make` prints what can be made; nothing is built by accident.
#
# One rule compiles, one rule links. What belongs to an archive is found by its folder, so a new
# .c file needs no line here. Everything made lies below build/; a sanitizer's build is a second
# tree (build/asan, build/tsan) made by the same rules with another B and SANITIZE.

B        ?= build
SANITIZE ?=
PREFIX   ?= /usr/local
DESTDIR  ?=
UNIT_DIR ?= $(PREFIX)/lib/systemd/system

CC       = gcc
CFLAGS   = -std=gnu17 -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
           -Wold-style-definition -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wwrite-strings \
           -Wcast-qual -Wimplicit-fallthrough -Werror

# Asked only when something is compiled: `make`, `make help` and `make deps` have to work before
# pkg-config is installed. Library headers are system headers, our warnings are not their concern.
PACKAGES        = libh2o-evloop json-c libcurl openssl zlib
LIBRARY_HEADERS = $(shell { pkg-config --cflags $(PACKAGES); pkg-config --cflags --silence-errors cmocka; } | sed 's/-I */-isystem /g')
LIBRARIES       = $(shell pkg-config --libs $(PACKAGES))

COMPILE = $(CC) $(CFLAGS) $(SANITIZE) $(WARNINGS) -I. -D_GNU_SOURCE= -DH2O_USE_LIBUV=0 $(LIBRARY_HEADERS) \
          -pthread -MMD -MP
LINK    = $(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -pthread -Wl,--as-needed

# V=1 shows the whole commands.
say     = $(if $(V),,@echo '  $(1)' && )

# --- what there is ------------------------------------------------------------------------

sources_of = $(filter-out %_main.c,$(wildcard $(1)/*.c))
objects_of = $(patsubst %.c,$(B)/%.o,$(1))

COMMON_OBJECTS    := $(call objects_of,$(call sources_of,common))
SHM_OBJECTS       := $(call objects_of,$(call sources_of,shm))
WORKER_OBJECTS    := $(call objects_of,$(call sources_of,worker))
API_OBJECTS       := $(call objects_of,$(call sources_of,api))
PROCESSOR_OBJECTS := $(call objects_of,$(wildcard test/processor/*.c))
POSTER_OBJECTS    := $(call objects_of,$(wildcard test/lib/poster/*.c))
CLIENT_OBJECTS    := $(call objects_of,$(wildcard test/lib/client/*.c))
BENCH_TOOLS       := load bare rinha
MODEL_OBJECTS     := $(call objects_of,$(wildcard test/model/*.c))
UNIT_SOURCES      := $(wildcard test/unit/test_*.c)
UNIT_OBJECTS      := $(call objects_of,$(filter-out test/unit/test_%,$(wildcard test/unit/*.c)))
UNIT_TESTS        := $(patsubst test/unit/%.c,$(B)/unit/%,$(UNIT_SOURCES))

PROGRAMS := $(B)/payring-api $(B)/payring-worker $(B)/payringctl
TOOLS    := $(if $(PROCESSOR_OBJECTS),$(B)/processor) $(if $(POSTER_OBJECTS),$(B)/poster) \
            $(addprefix $(B)/,$(BENCH_TOOLS))
MODEL    := $(if $(MODEL_OBJECTS),$(B)/model)

# Includes point one way, api and worker -> shm -> common; linking follows the same arrows.
COMMON_ARCHIVES = $(B)/libcommon.a
SHM_ARCHIVES    = $(B)/libshm.a $(COMMON_ARCHIVES)
WORKER_ARCHIVES = $(B)/libworker.a $(SHM_ARCHIVES)
API_ARCHIVES    = $(B)/libapi.a $(SHM_ARCHIVES)

# --- targets ------------------------------------------------------------------------------

.PHONY: help
help:
	@echo 'make run            a whole gateway on port 9999 with two stand-in processors; Ctrl-C ends it'
	@echo 'make test           everything: unit tests, the model, the stand-in, the cluster plays'
	@echo 'make test-deliveries  docker-compose, systemd and the Debian package on engines (root, Debian 12)'
	@echo 'make rinha          the public 60 s test against what make run has started (or RINHA_GATEWAY)'
	@echo
	@echo 'make all            the programs, tests and tools, in build/'
	@echo 'make unit           the unit tests alone'
	@echo 'make model          explore the payment protocol with small bounds'
	@echo 'make asan           the unit tests under the address and undefined-behaviour sanitizers'
	@echo 'make tsan           the unit tests under the thread sanitizer'
	@echo 'make format         put every C file into the shape of .clang-format'
	@echo 'make format-check   say which C files are not in that shape'
	@echo 'make install        programs, units, settings and pages, to DESTDIR and PREFIX (/usr/local)'
	@echo 'make deb            a Debian package, in build/deb/'
	@echo 'make deps           install the Debian packages that all of this needs'
	@echo 'make clean          remove build/'

.PHONY: all programs tools unit-tests
all: programs tools unit-tests $(MODEL)
programs: $(PROGRAMS)
tools: $(TOOLS)
unit-tests: $(UNIT_TESTS)

.PHONY: deps
deps:
	@compose/local/install-packages.sh

# A second make, because the first one may have started without the packages. What a script starts in
# the background ignores INT, and a shell cannot take that back for itself: env does.
.PHONY: run test
run: deps
	@$(MAKE) --no-print-directory programs tools
	@exec env --default-signal=INT,QUIT compose/local/run.sh
test: deps
	@exec test/lib/run-all

# Engines are brought up and ended; what is in the way of that is named in a skip.
.PHONY: test-deliveries
test-deliveries: deps programs tools
	@exec test/lib/run-tap $(wildcard test/deliveries/t*.sh)

# Processors other than the two of `make run`: RINHA_DEFAULT, RINHA_FALLBACK. `build/rinha --help`
# tells of RINHA_OPTIONS.
RINHA_GATEWAY  ?= http://127.0.0.1:9999
RINHA_DEFAULT  ?= http://127.0.0.1:8001
RINHA_FALLBACK ?= http://127.0.0.1:8002
.PHONY: rinha
rinha: $(B)/rinha
	@$< --gateway $(RINHA_GATEWAY) --default $(RINHA_DEFAULT) --fallback $(RINHA_FALLBACK) $(RINHA_OPTIONS)

.PHONY: unit
unit: $(UNIT_TESTS)
	@exec test/lib/run-tap $(UNIT_TESTS)

.PHONY: model
model: $(B)/model
	$(B)/model $(MODEL_BOUNDS)
	$(B)/model --self-test

# The thread sanitizer of gcc 12 does not know the address layout of newer kernels: no
# randomisation for it.
.PHONY: asan tsan
asan:
	@$(MAKE) --no-print-directory B=build/asan \
	    SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' unit
tsan:
	@setarch -R $(MAKE) --no-print-directory B=build/tsan \
	    SANITIZE='-fsanitize=thread -Wno-error=tsan' unit

C_FILES = $(shell find api worker common shm test -name '*.[ch]')
.PHONY: format format-check
format:
	clang-format -i --style=file $(C_FILES)
format-check:
	@clang-format --dry-run --Werror --style=file $(C_FILES)

.PHONY: install deb
install: $(PROGRAMS)
	@compose/systemd/install.sh "$(DESTDIR)" "$(PREFIX)" "$(UNIT_DIR)" $(PROGRAMS)

# The package is built from a copy, below build/, where debian/ may lie where its tools want it.
deb:
	@PAYRING_PACKAGES=deb compose/local/install-packages.sh
	@compose/debian/build.sh build/deb

.PHONY: clean
clean:
	rm -rf build

# --- rules --------------------------------------------------------------------------------

# The compiler's flags are part of every object: another Makefile, another build.
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,compile $<)$(COMPILE) -c -o $@ $<

# Made anew each time: `ar r` would keep the member of a file that is gone.
$(B)/lib%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,archive $@)ar rcs $@ $^

$(B)/libcommon.a: $(COMMON_OBJECTS)
$(B)/libshm.a: $(SHM_OBJECTS)
$(B)/libworker.a: $(WORKER_OBJECTS)
$(B)/libapi.a: $(API_OBJECTS)
$(B)/libunit.a: $(UNIT_OBJECTS)
$(B)/libclient.a: $(CLIENT_OBJECTS)

link = $(call say,link $@)$(LINK) -o $@ $^ $(LIBRARIES) $(1)

$(B)/payring-api: $(B)/api/api_main.o $(API_ARCHIVES)
	$(call link)
$(B)/payring-worker: $(B)/worker/worker_main.o $(WORKER_ARCHIVES)
	$(call link)
$(B)/payringctl: $(B)/worker/payringctl_main.o $(WORKER_ARCHIVES)
	$(call link)

# What judges the gateway shares no code with it.
$(B)/processor: $(PROCESSOR_OBJECTS)
	$(call link)
$(B)/poster: $(POSTER_OBJECTS) $(B)/libclient.a
	$(call link)
define bench_tool
$(B)/$(1): $(call objects_of,$(wildcard test/bench/$(1)/*.c)) $(B)/libclient.a
	$$(call link,-lm)
endef
$(foreach tool,$(BENCH_TOOLS),$(eval $(call bench_tool,$(tool))))

# The model explores the very object that the worker runs.
$(B)/model: $(MODEL_OBJECTS) $(B)/worker/payment_protocol.o $(SHM_ARCHIVES)
	$(call link)

# A unit test is linked with the rooms that it includes from and those below them, so that it
# builds while another room does not.
rooms_of = $(shell grep -ohE '^\#include "(common|shm|worker|api|test/lib/client)/' $(1) | cut -d'"' -f2 | sort -u)
archives_for = $(if $(filter api/,$(1)),$(B)/libapi.a) \
               $(if $(filter worker/,$(1)),$(B)/libworker.a) \
               $(if $(filter api/ worker/ shm/,$(1)),$(B)/libshm.a) $(B)/libcommon.a \
               $(if $(filter test/lib/client/,$(1)),$(B)/libclient.a)
define unit_test
$(B)/unit/$(1): $(B)/test/unit/$(1).o $(if $(UNIT_OBJECTS),$(B)/libunit.a) \
                $(call archives_for,$(call rooms_of,test/unit/$(1).c $(patsubst $(B)/%.o,%.c,$(UNIT_OBJECTS))))
	@mkdir -p $$(@D)
	$$(call link,-lcmocka)
endef
$(foreach test,$(UNIT_SOURCES),$(eval $(call unit_test,$(basename $(notdir $(test))))))

.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
