%% SPDX-License-Identifier: Apache-2.0
%% A build of the driver for the tests, whose allocations fail now and then while the VM's do not:
%% see alloc_fault.c.
-module(gen_rpc_test_alloc).

-export([build/1, options/1, fail_one_in/2, failed/1]).

-type t() :: #{lib := file:filename(), control := file:filename()}.
-export_type([t/0]).

%% In a directory of its own. For one site: it has the control of its driver.
-spec build(file:filename()) -> t().
build(Dir) ->
    ok = filelib:ensure_path(Dir),
    Ebin = filename:dirname(code:which(gen_rpc)),
    _ = gen_rpc_test_net:cmd(["make -C ", source_dir(), " LIB=", Dir, " EBIN=", Ebin]),
    T = #{lib => Dir, control => filename:join(Dir, "control")},
    ok = file:write_file(maps:get(control, T), <<0:64>>),
    T.

source_dir() ->
    filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile))).

%% For gen_rpc_test_site:start/2.
-spec options(t()) -> [{atom(), term()}].
options(#{lib := Lib, control := Control}) ->
    [{first_path, filename:join([Lib, "gen_rpc", "ebin"])},
     {env, [{"GEN_RPC_TEST_ALLOC", Control}]}].

%% 0: none fails.
-spec fail_one_in(t(), non_neg_integer()) -> ok.
fail_one_in(#{control := Control}, N) ->
    {ok, Fd} = file:open(Control, [raw, binary, read, write]),
    ok = file:pwrite(Fd, 0, <<N:32/native>>),
    file:close(Fd).

%% How many have failed until now.
-spec failed(t()) -> non_neg_integer().
failed(#{control := Control}) ->
    {ok, <<_:32, Failed:32/native>>} = file:read_file(Control),
    Failed.
