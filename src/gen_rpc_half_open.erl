%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Which connections are in their handshake, and how many of them there may be: in all, and from one
%% address. A pure data structure.
%%
%% Where there is no room for one more, it takes the place of the oldest. So strangers who only hold
%% places keep nobody out, and a flood of them must bring as many as there are places within the few
%% milliseconds that a handshake takes to do so.
-module(gen_rpc_half_open).

-export([new/1, add/4, take/2, ports/1, count/1]).

-record(entry, {number :: pos_integer(),
                source :: source(),
                about :: term()}).

-record(half_open, {limits :: limits(),
                    next = 1 :: pos_integer(),
                    entries = #{} :: #{port() => #entry{}},
                    by_age = gb_sets:new() :: ages(),
                    by_source = #{} :: #{source() => ages()}}).

-type limits() :: #{max_half_open := pos_integer(), max_half_open_per_address := pos_integer()}.
-type limit() :: max_half_open | max_half_open_per_address.
-type ages() :: gb_sets:set({pos_integer(), port()}). % older ones have smaller numbers

%% Whoever has one IPv6 address usually has the whole /64 network.
-type source() :: inet:ip4_address() | {0..65535, 0..65535, 0..65535, 0..65535, network}.

-opaque t() :: #half_open{}.
-export_type([t/0, limits/0, limit/0]).

-spec new(limits()) -> t().
new(Limits) ->
    #half_open{limits = Limits}.

%% One more. `replaces': another one has to go.
-spec add(port(), term(), inet:ip_address(), t()) ->
          {ok, t()} | {replaces, {port(), About :: term()}, limit(), t()}.
add(Port, About, Ip, #half_open{by_age = ByAge, by_source = BySource} = H) ->
    Source = source(Ip),
    Entry = #entry{number = H#half_open.next, source = Source, about = About},
    case crowd([{max_half_open_per_address, maps:get(Source, BySource, gb_sets:new())},
                {max_half_open, ByAge}], H) of
        none ->
            {ok, insert(Port, Entry, H)};
        {Limit, Crowd} ->
            {_, Oldest} = gb_sets:smallest(Crowd),
            {Gone, Rest} = take(Oldest, H),
            {replaces, {Oldest, Gone}, Limit, insert(Port, Entry, Rest)}
    end.

%% The first that has no room.
crowd([{Limit, Ages} | Rest], #half_open{limits = Limits} = H) ->
    case gb_sets:size(Ages) >= map_get(Limit, Limits) of
        true -> {Limit, Ages};
        false -> crowd(Rest, H)
    end;
crowd([], _H) ->
    none.

insert(Port, #entry{number = Number, source = Source} = Entry,
       #half_open{entries = Entries, by_age = ByAge, by_source = BySource} = H) ->
    Age = {Number, Port},
    H#half_open{next = Number + 1,
                entries = Entries#{Port => Entry},
                by_age = gb_sets:add_element(Age, ByAge),
                by_source = maps:update_with(Source, fun(Ages) -> gb_sets:add_element(Age, Ages) end,
                                             gb_sets:singleton(Age), BySource)}.

%% Removes one that is known, and gives back what was said about it.
-spec take(port(), t()) -> {About :: term(), t()} | error.
take(Port, #half_open{entries = Entries, by_age = ByAge, by_source = BySource} = H) ->
    case maps:take(Port, Entries) of
        {#entry{number = Number, source = Source, about = About}, Rest} ->
            Age = {Number, Port},
            {About, H#half_open{entries = Rest,
                                by_age = gb_sets:del_element(Age, ByAge),
                                by_source = without(Source, Age, BySource)}};
        error ->
            error
    end.

without(Source, Age, BySource) ->
    Left = gb_sets:del_element(Age, map_get(Source, BySource)),
    case gb_sets:is_empty(Left) of
        true -> maps:remove(Source, BySource);
        false -> BySource#{Source := Left}
    end.

-spec ports(t()) -> [port()].
ports(#half_open{entries = Entries}) ->
    maps:keys(Entries).

-spec count(t()) -> non_neg_integer().
count(#half_open{entries = Entries}) ->
    map_size(Entries).

source({0, 0, 0, 0, 0, 16#FFFF, High, Low}) ->
    {High bsr 8, High band 255, Low bsr 8, Low band 255};
source({A, B, C, D, _, _, _, _}) ->
    {A, B, C, D, network};
source(Ip) ->
    Ip.
