%% SPDX-License-Identifier: Apache-2.0
%% What Linux knows of processes and of the machine.
-module(gen_rpc_bench_os).

-export([cpu/1, rss/1, machine/0]).

%% USER_HZ, the unit of times in /proc: the same on every Linux that Erlang runs on.
-define(TICKS, 100).

%% CPU time that a process has used, user and system, us.
-spec cpu(OsPid :: string()) -> non_neg_integer().
cpu(OsPid) ->
    {ok, Stat} = file:read_file(["/proc/", OsPid, "/stat"]),
    %% The second field is a name in parentheses that may itself hold spaces and parentheses.
    [_, Rest] = re:split(Stat, "^.*\\) ", [dotall]),
    Fields = binary:split(Rest, <<" ">>, [global]),
    [User, System | _] = lists:nthtail(11, Fields),
    (binary_to_integer(User) + binary_to_integer(System)) * (1000000 div ?TICKS).

%% Resident memory, bytes.
-spec rss(OsPid :: string()) -> non_neg_integer().
rss(OsPid) ->
    {ok, Status} = file:read_file(["/proc/", OsPid, "/status"]),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.

-spec machine() -> #{atom() => binary() | integer()}.
machine() ->
    #{cpu => cpu_model(),
      cores => erlang:system_info(logical_processors_available),
      otp => list_to_binary(erlang:system_info(otp_release)),
      erts => list_to_binary(erlang:system_info(version)),
      kernel => string:trim(read("/proc/sys/kernel/osrelease"))}.

cpu_model() ->
    Options = [{capture, all_but_first, binary}],
    case re:run(read("/proc/cpuinfo"), "model name\\s*: (.*)", Options) of
        {match, [Model]} -> Model;
        nomatch -> <<"unknown CPU">>
    end.

read(Path) ->
    {ok, Content} = file:read_file(Path),
    Content.
