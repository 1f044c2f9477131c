# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` are all that a fresh Debian machine needs; they install what is missing.

# "Entering directory" and its like only hide what matters.
MAKEFLAGS += --no-print-directory

REBAR3 ?= rebar3
CLANG_FORMAT ?= clang-format
CLANG_FORMAT_MAJOR := 14

BUILD_PACKAGES := gcc libc6-dev erlang-base erlang-dev erlang-crypto rebar3 libmbedtls-dev zlib1g-dev \
	openssl
DOCS_PACKAGES := erlang-base erlang-edoc
FUZZ_PACKAGES := clang libclang-rt-dev llvm gcc libc6-dev libcmocka-dev libmbedtls-dev zlib1g-dev openssl
TEST_PACKAGES := erlang-common-test erlang-dialyzer erlang-tools erlang-proper-dev libcmocka-dev \
	clang-format iproute2 openssl testssl.sh dnsmasq-base elixir $(DOCS_PACKAGES) $(FUZZ_PACKAGES)
CERTS_PACKAGES := openssl
BENCH_PACKAGES := $(BUILD_PACKAGES) $(CERTS_PACKAGES) erlang-ssl erlang-public-key erlang-asn1

C_FILES = $(shell find . -path ./_build -prune -o -name '*.[ch]' -print)

all:
	$(REBAR3) compile

deps: PACKAGES := $(BUILD_PACKAGES) $(TEST_PACKAGES)
deps-build: PACKAGES := $(BUILD_PACKAGES)
deps-certs: PACKAGES := $(CERTS_PACKAGES)
deps-docs: PACKAGES := $(DOCS_PACKAGES)
deps-bench: PACKAGES := $(BENCH_PACKAGES)
deps-fuzz: PACKAGES := $(FUZZ_PACKAGES)
deps-matrix: PACKAGES := debootstrap debian-archive-keyring

# Without dpkg this is no Debian, and the compilers will say what they miss.
deps deps-build deps-certs deps-docs deps-bench deps-fuzz deps-matrix:
	@command -v dpkg-query >/dev/null || exit 0; \
	installed=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(PACKAGES) 2>/dev/null); \
	missing=$$(for package in $(PACKAGES); do \
		echo "$$installed" | grep -qx "$$package installed" || printf ' %s' "$$package"; \
	done); \
	test -n "$$missing" || exit 0; \
	if test "$$(id -u)" -eq 0; then as_root=env; \
	elif sudo -n true 2>/dev/null; then as_root='sudo -n env'; \
	else \
		echo "Some packages are missing. Install them, then try again:" >&2; \
		echo "  sudo apt-get install --no-install-recommends$$missing" >&2; \
		exit 1; \
	fi; \
	echo "installing$$missing"; \
	apt_get="$$as_root DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"; \
	$$apt_get update; \
	$$apt_get install -y --no-install-recommends $$missing

test: deps
	@test/run

# `make test` in roots of other Debian releases: `make matrix PLATFORMS="bookworm trixie"`. Needs root.
matrix: deps-matrix
	@test/matrix $(PLATFORMS)

unit-c:
	@$(MAKE) -C test/c run

# Fuzzers of the core, all or FUZZ, each for so many SECONDS; `fuzz-merge` puts what they found into the corpora.
fuzz: deps-fuzz
	@$(MAKE) -C test/c -f fuzz.mk run

fuzz-test:
	@$(MAKE) -C test/c -f fuzz.mk test SECONDS=10

fuzz-merge: deps-fuzz
	@$(MAKE) -C test/c -f fuzz.mk merge

# Lines of the core that tests and corpora reach.
coverage: deps-fuzz
	@$(MAKE) -C test/c -f fuzz.mk coverage

ct:
	@test/run_ct $(CT_ARGS)

# Faults between real nodes in network namespaces: make integration NODES=5 CALLS=1000000. Needs root.
integration: deps
	@NODES=$(NODES) CALLS=$(CALLS) SEED=$(SEED) test/run_integration $(CT_ARGS)

# The same suites, or SUITES="port cancel", with the driver under sanitizers inside of the VM.
test-asan: deps
	@test/run_asan $(SUITES)

elixir:
	@test/run_elixir $(MIX_ARGS)

xref:
	$(REBAR3) xref

dialyzer:
	$(REBAR3) dialyzer

# The reference, in HTML.
docs: deps-docs
	@docs/build.escript _build/docs

demo: deps-build all
	escript examples/demo.escript

# Mixed traffic for so long: make soak MINUTES=30
soak: MINUTES := 30
soak: deps
	@test/run_soak $(MINUTES)

bench: deps-bench all
	bench/run $(BENCH_ARGS)

shell-master shell-master-tls: NODE := master
shell-slave shell-slave-tls: NODE := slave

shell-master shell-slave shell-master-tls shell-slave-tls: deps-build all
	erl -name $(NODE)@127.0.0.1 -setcookie gen_rpc -config examples/$(@:shell-%=%) \
		-pa $(CURDIR)/_build/default/lib/gen_rpc/ebin \
		-eval '{ok, _} = application:ensure_all_started(gen_rpc).'

# A certificate for each node: make certs NODES="a@10.0.0.1 b@10.0.0.2" DIR=certs
certs: DIR := certs
certs: deps-certs
	@test -n "$(NODES)" || { \
		echo 'certs: NODES is empty; for example: make certs NODES="a@10.0.0.1 b@10.0.0.2"' >&2; exit 1; }
	@examples/make-certs "$(DIR)" $(NODES)

format:
	$(CLANG_FORMAT) -i $(C_FILES)

# Versions differ in details, and only one can be right. `test/run` knows the word.
format-check:
	@version=$$($(CLANG_FORMAT) --version) || exit; \
	case "$$version" in \
	*' version $(CLANG_FORMAT_MAJOR).'*) $(CLANG_FORMAT) --dry-run --Werror $(C_FILES) ;; \
	*) echo "skipped: clang-format $(CLANG_FORMAT_MAJOR) decides, this is $$version" ;; \
	esac

clean:
	$(MAKE) -C c_src clean
	$(MAKE) -C test/c clean
	rm -rf _build/default/lib _build/test _build/test-logs

distclean: clean
	rm -rf _build doc ebin examples/elixir/_build rebar.lock rebar3.crashdump erl_crash.dump

.PHONY: all deps deps-build deps-certs deps-docs deps-bench deps-fuzz deps-matrix test matrix unit-c fuzz \
	fuzz-test fuzz-merge coverage ct integration test-asan soak elixir xref dialyzer docs demo bench shell-master \
	shell-slave shell-master-tls shell-slave-tls certs format format-check clean distclean
# Prerequisites such as `deps-build all` depend on their order.
.NOTPARALLEL:
