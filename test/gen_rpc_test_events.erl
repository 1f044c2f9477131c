%% SPDX-License-Identifier: Apache-2.0
%% All that a node logs, of whatever level and from whomever, as data: for tests of what is logged
%% and of what is not.
-module(gen_rpc_test_events).

-export([install/1, clear/1, events/1, ours/1, others/1, text/1]).
-export([log/2]).

-export([install_here/0, clear_here/0, events_here/0]).

-define(TABLE, ?MODULE).

-type event() :: #{level := logger:level(), domain := [atom()], report := term(), text := string()}.
%% `text' is the event as a handler would show it, without time and level.
-export_type([event/0]).

%% Begins to collect on a node. The console shows no more than before.
-spec install(gen_rpc_test_node:t()) -> ok.
install(Node) ->
    gen_rpc_test_node:call(Node, ?MODULE, install_here, []).

%% Forgets what was collected.
-spec clear(gen_rpc_test_node:t()) -> ok.
clear(Node) ->
    gen_rpc_test_node:call(Node, ?MODULE, clear_here, []).

%% What was collected, in order.
-spec events(gen_rpc_test_node:t()) -> [event()].
events(Node) ->
    gen_rpc_test_node:call(Node, ?MODULE, events_here, []).

%% Those of the application itself.
-spec ours(gen_rpc_test_node:t()) -> [event()].
ours(Node) ->
    [E || #{domain := [gen_rpc | _]} = E <- events(Node)].

%% Those that are about a process of the application but not from it: reports of crashes, of
%% supervisors and of progress.
-spec others(gen_rpc_test_node:t()) -> [event()].
others(Node) ->
    [E || #{domain := Domain} = E <- events(Node), hd(Domain ++ [none]) =/= gen_rpc].

%% All that was logged as one text.
-spec text(gen_rpc_test_node:t()) -> string().
text(Node) ->
    lists:flatten([[Text, $\n, io_lib:format("~tp~n", [Report])]
                   || #{text := Text, report := Report} <- events(Node)]).

%%% On the node

-spec install_here() -> ok.
install_here() ->
    Self = self(),
    Owner = spawn(fun() ->
                          ?TABLE = ets:new(?TABLE, [named_table, public, ordered_set]),
                          Self ! {self(), ready},
                          receive after infinity -> ok end
                  end),
    receive {Owner, ready} -> ok end,
    ok = logger:set_handler_config(default, level, notice),
    ok = logger:set_primary_config(level, all),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all}).

-spec clear_here() -> ok.
clear_here() ->
    true = ets:delete_all_objects(?TABLE),
    ok.

-spec events_here() -> [event()].
events_here() ->
    [Event || {_, Event} <- ets:tab2list(?TABLE)].

%% The handler: in the process that logs, so that a line is there when that process goes on.
-spec log(logger:log_event(), logger:handler_config()) -> ok.
log(#{level := Level, msg := Message, meta := Meta} = Event, _Config) ->
    Report = case Message of
                 {report, R} -> R;
                 _ -> none
             end,
    Text = logger_formatter:format(Event, #{template => [msg], single_line => false}),
    true = ets:insert(?TABLE, {erlang:unique_integer([monotonic]),
                               #{level => Level,
                                 domain => maps:get(domain, Meta, []),
                                 report => Report,
                                 text => unicode:characters_to_list(Text)}}),
    ok.
